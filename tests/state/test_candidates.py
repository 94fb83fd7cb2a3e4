"""Hosts that rest until a client comes, and hosts with others to fall back on."""

from __future__ import annotations

import pytest

from tests.state.told import ASKS, REFUSED, WRONG_KEY, after, lost
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Reconnect
from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.host import events
from tunnelctl.state.host.events import (
    Abandon,
    AskLink,
    AttachForwards,
    Authenticating,
    CancelTimer,
    CloseLink,
    Connect,
    Connected,
    DetachForwards,
    Event,
    Hurry,
    Idle,
    MoveForwards,
    OpenListeners,
    Restart,
    RetireLink,
    RetryDue,
    Start,
    StartTimer,
    Stop,
    Wake,
)
from tunnelctl.state.host.machine import Machine, next_state

# Lazy hosts.

LAZY = Machine(lazy=True)


def lazily(*history: Event) -> Machine:
    state = LAZY
    for now, event in enumerate(history):
        state, _ = next_state(state, event, now)
    return state


def test_a_lazy_host_listens_and_waits_for_its_first_client() -> None:
    for event in (Start(), Restart()):
        assert next_state(LAZY, event, 1) == (LAZY, (OpenListeners(),))
    state, actions = next_state(LAZY, Wake(), 2)
    assert state.state is HostState.CONNECTING
    assert actions == (Connect(1),)


@pytest.mark.parametrize(
    ("before", "left"),
    [
        (lazily(Wake(), Connected(1)), (DetachForwards(), CloseLink(1))),
        (lazily(Wake()), (Abandon(1),)),
        (lazily(Wake(), lost(1)), (CancelTimer(),)),
    ],
    ids=str,
)
def test_a_lazy_host_without_clients_rests(
    before: Machine, left: tuple[events.Action, ...]
) -> None:
    state, actions = next_state(before, Idle(), 9)
    assert (state.state, state.attempts, state.retry_at) == (HostState.IDLE, 0, None)
    assert actions == left


def test_waking_often_does_not_disturb_a_server_that_wants_peace() -> None:
    penalty = Failure(Code.HANDSHAKE_FAILED, "not allowed at this time", retry_after=60.0)
    state, actions = next_state(lazily(Wake(), lost(1, penalty), Idle()), Wake(), 30.0)
    assert (state.state, state.retry_at) == (HostState.BACKOFF, 61.0)
    assert actions == (StartTimer(1, 61.0),)


def test_only_a_lazy_host_rests() -> None:
    up = after(Start(), Authenticating(1), Connected(1))
    assert next_state(up, Idle(), 9) == (up, ())
    assert next_state(Machine(), Wake(), 9) == (Machine(), ())


# Fallbacks.

TWO = Machine(Reconnect(min=1, max=60, stable_after=30), candidates=2)


def history(*steps: tuple[float, Event], start: Machine = TWO) -> tuple[Machine, events.Action]:
    """The machine after timed events, and the last thing it asked for."""
    state = start
    actions: tuple[events.Action, ...] = ()
    for now, event in steps:
        state, actions = next_state(state, event, now)
    return state, actions[-1] if actions else OpenListeners()


TO_FALLBACK = ((0.0, Start()), (1.0, lost(1)), (2.0, Connected(2)))


def test_a_host_that_cannot_be_reached_is_replaced_by_its_fallback_at_once() -> None:
    state, asked = history(*TO_FALLBACK[:2])
    assert (state.state, state.candidate, state.attempts) == (HostState.CONNECTING, 1, 0)
    assert asked == Connect(2, 1)


def test_a_fallback_serves_and_the_reason_is_kept() -> None:
    state, asked = history(*TO_FALLBACK)
    assert state.on_fallback
    assert state.failure is None
    assert state.passed_over is REFUSED
    # The host itself is tried again after reconnect.max.
    assert (asked, state.retry_at) == (StartTimer(2, 62.0), 62.0)


def test_after_the_last_candidate_there_is_a_wait_and_then_the_first() -> None:
    state, _ = history((0, Start()), (1, lost(1)), (2, lost(2)))
    assert (state.state, state.attempts) == (HostState.BACKOFF, 1)
    assert next_state(state, RetryDue(2), 3)[1] == (Connect(3, 0),)


def test_going_home_disturbs_nobody() -> None:
    trying, asked = history(*TO_FALLBACK, (62, RetryDue(2)))
    assert (trying.state, trying.epoch, trying.homing) == (HostState.UP, 2, 3)
    assert asked == Connect(3, 0)
    assert next_state(trying, Authenticating(3), 63) == (trying, ())
    home, actions = next_state(trying, Connected(3), 64)
    assert (home.state, home.epoch, home.candidate) == (HostState.UP, 3, 0)
    assert (home.homing, home.passed_over, home.retry_at) == (None, None, None)
    assert actions == (MoveForwards(3), RetireLink(2))


def test_a_host_that_is_not_back_yet_is_asked_again_later() -> None:
    state, asked = history(*TO_FALLBACK, (62, RetryDue(2)), (63, lost(3)))
    assert (state.on_fallback, state.homing) == (True, None)
    assert asked == StartTimer(2, 123)


def test_a_host_that_refuses_for_good_is_not_asked_again_but_the_fallback_serves() -> None:
    state, _ = history(*TO_FALLBACK, (62, RetryDue(2)), (63, lost(3, WRONG_KEY)))
    assert (state.on_fallback, state.retry_at, state.passed_over) == (True, None, WRONG_KEY)
    # The fallback fails too: it alone is repeated.
    state, _ = next_state(state, lost(2), 64)
    assert state.state is HostState.BACKOFF
    assert next_state(state, RetryDue(2), 65)[1] == (Connect(4, 1),)


def test_up_tries_a_host_that_refused_for_good_beside_its_fallback() -> None:
    """Whoever says so may have mended it, or be there to answer."""
    serving, _ = history((0, Start()), (1, lost(1, ASKS)), (2, Connected(2)))
    assert (serving.on_fallback, serving.retry_at, serving.passed_over) == (True, None, ASKS)
    trying, actions = next_state(serving, Start(), 10)
    assert actions == (OpenListeners(), Connect(3, 0))
    assert next_state(trying, Start(), 11) == (trying, (OpenListeners(),))
    assert next_state(trying, Connected(3), 12)[1] == (MoveForwards(3), RetireLink(2))
    again, actions = next_state(trying, lost(3, ASKS), 12)
    assert (again.on_fallback, again.retry_at, actions) == (True, None, ())


def test_up_gives_a_host_that_refused_for_good_its_turn_after_the_fallback() -> None:
    waiting, _ = history((0, Start()), (1, lost(1, ASKS)), (2, lost(2)))
    assert next_state(waiting, RetryDue(2), 3)[1] == (Connect(3, 1),)
    asked, _ = next_state(waiting, Start(), 3)
    assert next_state(asked, RetryDue(2), 4)[1] == (Connect(3, 0),)


def test_all_candidates_that_refuse_for_good_fail_the_host_with_its_own_reason() -> None:
    state, _ = history((0, Start()), (1, lost(1, ASKS)), (2, lost(2, WRONG_KEY)))
    assert (state.state, state.failure) == (HostState.NEEDS_INPUT, ASKS)


def test_a_fallback_that_is_lost_while_going_home_leaves_the_way_home() -> None:
    state, _ = history(*TO_FALLBACK, (62, RetryDue(2)))
    state, actions = next_state(state, lost(2), 63)
    assert (state.state, state.epoch, state.candidate) == (HostState.CONNECTING, 3, 0)
    assert actions == (DetachForwards(), CloseLink(2))
    assert next_state(state, Connected(3), 64)[1] == (AttachForwards(3),)


def test_a_hurry_tries_to_go_home_too() -> None:
    state, _ = history(*TO_FALLBACK)
    after, actions = next_state(state, Hurry(), 10)
    assert actions == (AskLink(2), CancelTimer(), Connect(3, 0))
    assert next_state(after, Hurry(), 11) == (after, (AskLink(2),))


@pytest.mark.parametrize("event", [Restart(), Stop()], ids=str)
def test_going_home_is_abandoned_with_the_rest(event: Event) -> None:
    state, _ = history(*TO_FALLBACK, (62, RetryDue(2)))
    _, actions = next_state(state, event, 63)
    assert Abandon(3) in actions
