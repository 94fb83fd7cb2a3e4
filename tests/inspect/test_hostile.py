"""Bytes of any kind, cut anywhere, never stop the inspection of others, nor are they lost count
of."""

from __future__ import annotations

import asyncio
import random
from unittest import TestCase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inspect.corpus import CORPUS, GET, NOT_SHOWN, OK
from tests.inspect.talks import CLIENT, SERVER, Talk, inspected, shown

TALKS = [*(talk for talk, _ in CORPUS.values()), *(talk for talk, _, _ in NOT_SHOWN.values())]


@st.composite
def damaged(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """A conversation in which some bytes were changed, inserted, removed or repeated."""
    talk = [
        (side, bytearray(data)) for side, data in draw(st.sampled_from(TALKS)) if len(data) < 10_000
    ]
    for _ in range(draw(st.integers(0, 4))):
        if not talk:
            break
        _, data = talk[draw(st.integers(0, len(talk) - 1))]
        place = draw(st.integers(0, len(data)))
        end = min(len(data), place + draw(st.integers(0, 8)))
        data[place:end] = draw(st.binary(max_size=8) | st.just(bytes(data[place:end]) * 2))
    return [(side, bytes(data)) for side, data in talk]


@settings(max_examples=80)
@given(talk=damaged(), size=st.none() | st.integers(1, 40))
def test_damage_is_counted_and_the_next_connection_is_shown(talk: Talk, size: int | None) -> None:
    async def run() -> None:
        async with inspected() as inspection:
            found = await shown(inspection, talk, size)
            counts = inspection.summary()["not_inspected"]
            assert all(one.has_ended for one in found)
            assert counts["connections"] in (0, 1)
            assert 0 <= counts["bytes"] <= sum(len(data) for _, data in talk)
            (after,) = await shown(inspection, [(CLIENT, GET), (SERVER, OK)], size)
            assert (after.status, after.has_ended) == (200, True)

    with TestCase().assertNoLogs("tunnelctl.inspect"):
        asyncio.run(run())


async def test_noise_is_not_http(caplog: pytest.LogCaptureFixture) -> None:
    noise = random.Random(3)
    async with inspected() as inspection:
        for _ in range(200):
            talk = [
                (noise.choice((CLIENT, SERVER)), noise.randbytes(noise.randrange(1, 300)))
                for _ in range(3)
            ]
            assert await shown(inspection, talk) == []
    assert "failed" not in caplog.text
