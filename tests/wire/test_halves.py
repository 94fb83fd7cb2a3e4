"""The two directions of a channel by themselves: they go only where the drawing has an arrow."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.wire.halves import Phase, Receiving, Sending
from tunnelctl.wire.messages import U32_MAX, ProtocolError
from tunnelctl.wire.window import PACKET_MAX, WINDOW, RoundTrip

SENDING = {
    (Phase.OPENING, Phase.OPEN),
    (Phase.OPENING, Phase.ABANDONED),
    (Phase.ABANDONED, Phase.CLOSED),
    (Phase.OPEN, Phase.ENDED),
    (Phase.OPEN, Phase.CLOSED),
    (Phase.ENDED, Phase.CLOSED),
}
RECEIVING = {
    (Phase.OPENING, Phase.OPEN),
    (Phase.OPEN, Phase.ENDED),
    (Phase.OPEN, Phase.CLOSED),
    (Phase.ENDED, Phase.CLOSED),
}
PACKETS = st.sampled_from([1, PACKET_MAX, PACKET_MAX + 1, U32_MAX])
SIZES = st.sampled_from([0, 1, 100, PACKET_MAX, WINDOW])


def arrows(phases: list[Phase]) -> set[tuple[Phase, Phase]]:
    return {(before, after) for before, after in pairwise(phases) if before is not after}


def receiving() -> Receiving:
    return Receiving(RoundTrip(lambda: 0.0))


@given(st.lists(st.sampled_from(["end", "close", "send"])), PACKETS, st.integers(0, 8))
def test_sending_goes_by_the_drawing(steps: list[str], packet_max: int, confirmed_at: int) -> None:
    half, said, phases = Sending(), [], [Phase.OPENING]
    for number, step in enumerate(steps):
        if number == confirmed_at and not half.begin(WINDOW, packet_max):
            said.append("close")
        phases.append(half.phase)
        match step:
            case "send":
                room = half.room()
                assert room == (half.window if half.phase is Phase.OPEN else 0)
                half.sent(min(room, half.packet_max))
                said += ["data"] * bool(room)
            case "end":
                said += ["eof"] * half.end()
            case "close":
                said += ["close"] * half.close()
                assert half.has_left
        phases.append(half.phase)
    assert arrows(phases) <= SENDING
    # EOF is said once and no data after it; CLOSE is said once and nothing after it.
    assert said.count("eof") <= 1
    assert "data" not in said[said.index("eof") :] if "eof" in said else True
    assert "close" not in said[:-1]
    # It is said sooner or later.
    has_begun = len(steps) > confirmed_at
    assert ("close" in said) == (has_begun and "close" in steps)


@given(st.lists(st.sampled_from(["take", "end", "close"])), SIZES)
def test_receiving_goes_by_the_drawing(steps: list[str], size: int) -> None:
    half = receiving()
    half.begin()
    came, phases = 0, [Phase.OPENING, half.phase]
    for step in steps:
        before = half.phase
        match step:
            case "take" if before is Phase.OPEN and came + size <= WINDOW:
                half.take(size)
                came += size
            case "take":
                with pytest.raises(ProtocolError):
                    half.take(max(size, 1) * 10)
                half.window.open = WINDOW - came
            case "end":
                assert half.end() == (before is Phase.OPEN)
            case "close" if before is not Phase.CLOSED:
                half.close()
            case "close":
                with pytest.raises(ProtocolError, match="closed twice"):
                    half.close()
        phases.append(half.phase)
    assert arrows(phases) <= RECEIVING
    assert half.window.open == WINDOW - came


def test_data_before_the_confirmation_is_refused() -> None:
    with pytest.raises(ProtocolError, match="before confirming"):
        receiving().take(1)


def test_what_is_lost_is_closed_from_anywhere() -> None:
    for prepare in ((), ("begin",), ("begin", "end"), ("close",), ("begin", "close")):
        half = Sending()
        for step in prepare:
            half.begin(1, 1) if step == "begin" else getattr(half, step)()
        half.lose()
        assert half.phase is Phase.CLOSED
        assert not half.close()
        assert not half.end()


def test_a_window_cannot_be_widened_past_the_most_that_a_field_holds() -> None:
    half = Sending()
    half.begin(U32_MAX, 1)
    half.sent(1)
    half.widen(1)
    with pytest.raises(ProtocolError, match=r"2\^32-1"):
        half.widen(1)


def test_a_peer_that_takes_no_data_is_refused() -> None:
    with pytest.raises(ProtocolError, match="maximum packet size 0"):
        Sending().begin(WINDOW, 0)
