"""The receive window: bounded by the reader, wide enough for the distance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.wire.messages import ProtocolError
from tunnelctl.wire.window import (
    OPENSSH_WINDOW_LIMIT,
    PACKET_MAX,
    WINDOW,
    WINDOW_LIMIT,
    ReceiveWindow,
    RoundTrip,
    WindowBudget,
)

ROUND_TRIP = 0.1  # seconds


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def transfer(window: ReceiveWindow, clock: Clock, seconds: float, *, bytes_a_second: float) -> None:
    """Send as a peer at the far end of a link would: no more than its window a round trip."""
    end = clock.now + seconds
    while clock.now < end:
        flight = int(min(window.open, bytes_a_second * ROUND_TRIP))
        packets = max(1, flight // PACKET_MAX)
        for _ in range(packets):
            clock.now += ROUND_TRIP / packets
            window.take(PACKET_MAX)
            window.give_back(PACKET_MAX, keeps_up=True)


def test_a_long_fat_link_is_not_held_to_the_first_window() -> None:
    clock = Clock()
    window = ReceiveWindow(RoundTrip(clock, ROUND_TRIP))
    transfer(window, clock, 5, bytes_a_second=1e9)
    assert window.size == WINDOW_LIMIT


def test_a_peer_that_bears_less_gets_less() -> None:
    clock = Clock()
    window = ReceiveWindow(RoundTrip(clock, ROUND_TRIP, OPENSSH_WINDOW_LIMIT))
    transfer(window, clock, 5, bytes_a_second=1e9)
    assert window.size == OPENSSH_WINDOW_LIMIT


def test_windows_grow_together_by_no_more_than_their_budget() -> None:
    clock, budget = Clock(), WindowBudget(WINDOW_LIMIT)
    windows = [ReceiveWindow(RoundTrip(clock, ROUND_TRIP, budget=budget)) for _ in range(3)]
    for window in windows:
        transfer(window, clock, 5, bytes_a_second=1e9)
    assert budget.left == 0
    assert sum(window.size - WINDOW for window in windows) == WINDOW_LIMIT
    # What one of them has no use for any more is there for the next one.
    windows[0].close()
    windows[0].close()
    transfer(windows[2], clock, 5, bytes_a_second=1e9)
    assert windows[2].size == WINDOW_LIMIT
    for window in windows:
        window.close()
    assert budget.left == WINDOW_LIMIT


def test_a_reader_that_falls_behind_leaves_the_budget_to_others() -> None:
    clock, budget = Clock(), WindowBudget()
    window = ReceiveWindow(RoundTrip(clock, ROUND_TRIP, budget=budget))
    transfer(window, clock, 5, bytes_a_second=1e9)
    before = budget.left
    for _ in range(WINDOW_LIMIT // PACKET_MAX):
        window.take(PACKET_MAX)
        window.give_back(PACKET_MAX, keeps_up=False)
    assert budget.left == before + WINDOW_LIMIT - WINDOW


def test_a_slow_sender_does_not_widen_the_window() -> None:
    clock = Clock()
    window = ReceiveWindow(RoundTrip(clock, ROUND_TRIP))
    transfer(window, clock, 60, bytes_a_second=1e6)
    assert window.size == WINDOW


def test_without_a_measured_round_trip_the_window_stays() -> None:
    clock = Clock()
    window = ReceiveWindow(RoundTrip(clock))
    transfer(window, clock, 5, bytes_a_second=1e9)
    assert window.size == WINDOW


def test_a_reader_that_falls_behind_gets_the_first_window_again() -> None:
    clock = Clock()
    window = ReceiveWindow(RoundTrip(clock, ROUND_TRIP))
    transfer(window, clock, 5, bytes_a_second=1e9)
    for _ in range(WINDOW_LIMIT // PACKET_MAX):
        window.take(PACKET_MAX)
        window.give_back(PACKET_MAX, keeps_up=False)
    assert (window.size, window.open <= WINDOW) == (WINDOW, True)


def test_a_window_that_shrank_in_part_grows_to_its_limit_and_not_beyond() -> None:
    clock = Clock()
    window = ReceiveWindow(RoundTrip(clock, ROUND_TRIP))
    transfer(window, clock, 5, bytes_a_second=1e9)
    window.take(WINDOW_LIMIT // 8)
    window.give_back(WINDOW_LIMIT // 8, keeps_up=False)
    assert WINDOW < window.size < WINDOW_LIMIT
    transfer(window, clock, 5, bytes_a_second=1e9)
    assert window.size == WINDOW_LIMIT


@given(st.lists(st.tuples(st.integers(1, PACKET_MAX), st.booleans(), st.floats(0, 0.2))))
def test_the_peer_never_has_more_than_the_window(steps: list[tuple[int, bool, float]]) -> None:
    clock = Clock()
    window = ReceiveWindow(RoundTrip(clock, ROUND_TRIP))
    held = 0
    for count, passed_on, seconds in steps:
        clock.now += seconds
        if count > window.open:
            continue
        window.take(count)
        held += count
        if passed_on:
            window.give_back(held, keeps_up=True)
            held = 0
        assert window.open >= 0
        assert window.open + held <= window.size <= WINDOW_LIMIT


def test_an_overrun_is_a_protocol_error() -> None:
    window = ReceiveWindow(RoundTrip(Clock()))
    window.take(WINDOW + WINDOW // 10)
    with pytest.raises(ProtocolError):
        window.take(1)
