"""A host with many forwards: none of them looks at all the others, and nobody waits for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.supervisor.scene import Scene, local, scene
from tests.support.here import here
from tests.support.waiting import eventually_async
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Probe, ProbeType
from tunnelctl.state.documents.snapshot import ForwardState, HostState
from tunnelctl.state.profile.overall import CountedPart
from tunnelctl.supervisor import tunnel_status
from tunnelctl.supervisor.forwards.forwarding import Forwarding
from tunnelctl.supervisor.tasks import AT_ONCE

MANY = 300


async def turns(ended: asyncio.Event) -> int:
    """How often others had their turn until then."""
    count = 0
    while not ended.is_set():
        await asyncio.sleep(0)
        count += 1
    return count


async def most_at_once(count: Callable[[], int], ended: asyncio.Event) -> int:
    """By how much a number fell at most while others waited for their turn, until then."""
    most, before = 0, count()
    while not ended.is_set():
        await asyncio.sleep(0)
        now = count()
        most, before = max(most, before - now), now
    return most


def all_up(s: Scene) -> bool:
    return all(forward.state is ForwardState.UP for forward in s.status().forwards)


async def test_each_costs_the_same_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0
    part_of = tunnel_status.part_of

    def counted(item: Forwarding) -> CountedPart | None:
        nonlocal looks
        looks += 1
        return part_of(item)

    monkeypatch.setattr(tunnel_status, "part_of", counted)
    unasked = Probe(ProbeType.NONE)
    rules = [local(f"f{n}", target=Endpoint(LOOPBACK, 1), probe=unasked) for n in range(MANY)]
    async with scene() as s:
        await s.up(s.profile(rules[0]))
        for profile in (s.profile(*rules), s.profile(*rules, host=s.host(connect_timeout=9))):
            looks, ended = 0, asyncio.Event()
            others = asyncio.create_task(turns(ended))
            await s.supervisor.change(profile, here())
            await s.until_host(HostState.UP)
            await eventually_async(lambda: all_up(s), "every forward is up")
            ended.set()
            assert await others > MANY // 16
            assert looks < 12 * MANY


async def test_those_that_are_removed_while_others_are_opened_stay_closed() -> None:
    rules = [local(f"f{n}", target=Endpoint(LOOPBACK, 1)) for n in range(MANY)]
    async with scene() as s:
        up = asyncio.ensure_future(s.supervisor.up(s.profile(*rules), here()))
        await up
        await s.supervisor.change(s.profile(rules[0]), here())
        await s.until_host(HostState.UP)
        await eventually_async(lambda: all_up(s), "what is left is up")
        assert [forward.name for forward in s.status().forwards] == ["f0"]
        await s.supervisor.up(s.profile(*rules), here())
        await s.supervisor.down("dev", 0)
        assert all(not forward.bound for forward in s.status().forwards)


@pytest.mark.parametrize("kept", [0, 1])
async def test_nobody_waits_while_they_are_closed(kept: int) -> None:
    """By `down`, and by a change that leaves one."""
    rules = [local(f"f{n}", target=Endpoint(LOOPBACK, 1)) for n in range(MANY)]
    async with scene() as s:
        await s.up(s.profile(*rules))

        def bound() -> int:
            return sum(forward.bound for forward in s.status().forwards)

        ended = asyncio.Event()
        others = asyncio.create_task(most_at_once(bound, ended))
        await asyncio.sleep(0)
        if kept:
            await s.supervisor.change(s.profile(*rules[:kept]), here())
        else:
            await s.supervisor.down("dev", 10)
        ended.set()
        assert await others <= AT_ONCE
        assert bound() == kept
