"""The machine of a host whose server refuses a login that it took before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.state.told import ASKS, PENALTY, REFUSED, REFUSED_NOW, after, lost
from tunnelctl.spec.host import Reconnect
from tunnelctl.state.backoff import SPACING, spacing
from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.host.events import (
    CancelTimer,
    Connect,
    Connected,
    Hurry,
    OpenListeners,
    Remedied,
    RetryDue,
    Retune,
    Start,
    StartTimer,
)
from tunnelctl.state.host.machine import Machine, next_state

WAITING = after(Start(), lost(1, REFUSED_NOW))  # refused at 1, for 15 s


def test_few_tries_far_apart() -> None:
    assert [spacing(times, 0.0) for times in range(1, 6)] == [5, 15, 60, 300, 300]
    assert spacing(9, 0.999) <= 1.1 * SPACING[-1]


def test_the_wait_is_the_one_that_came_with_the_refusal() -> None:
    """Neither shorter nor longer, however often it failed before for other reasons."""
    machine = replace(after(Start()), attempts=40)
    state, actions = next_state(machine, lost(1, REFUSED_NOW, jitter=0.99), 100)
    assert (state.state, state.retry_at) == (HostState.BACKOFF, 115)
    assert actions == (StartTimer(1, 115),)


def test_a_changed_network_is_no_reason_and_a_changed_key_is() -> None:
    state, actions = next_state(WAITING, Hurry(), 2)
    assert (state.retry_at, actions) == (16, (CancelTimer(), StartTimer(1, 16)))
    state, actions = next_state(WAITING, Remedied(), 2)
    assert (state.state, actions) == (HostState.CONNECTING, (CancelTimer(), Connect(2)))


def test_up_is_a_reason() -> None:
    state, actions = next_state(WAITING, Start(), 2)
    assert state.state is HostState.CONNECTING
    assert actions == (CancelTimer(), OpenListeners(), Connect(2))


def test_a_changed_key_does_not_end_what_a_server_asked_for() -> None:
    barred = after(Start(), lost(1, PENALTY))
    assert next_state(barred, Remedied(), 2) == (barred, ())
    both = replace(WAITING, candidates=2, rests=(*WAITING.rests, *barred.rests))
    assert next_state(both, Remedied(), 2)[0].state is HostState.CONNECTING


@pytest.mark.parametrize("machine", [after(Start()), after(Start(), Connected(1))], ids=str)
def test_a_changed_key_does_not_touch_what_goes_on(machine: Machine) -> None:
    assert next_state(machine, Remedied(), 9) == (machine, ())


def test_a_question_is_asked_again_with_another_key() -> None:
    asking = after(Start(), lost(1, ASKS))
    assert next_state(asking, Remedied(), 9)[0].state is HostState.CONNECTING


def test_a_shorter_policy_does_not_shorten_it() -> None:
    state, actions = next_state(WAITING, Retune(Reconnect(max=2)), 2)
    assert (state.retry_at, actions) == (16, (CancelTimer(), StartTimer(1, 16)))


def test_a_login_that_passes_is_forgotten() -> None:
    state, _ = next_state(WAITING, RetryDue(1), 16)
    state, _ = next_state(state, Connected(2), 17)
    assert not state.is_spaced
    assert next_state(state, lost(2), 18)[0].state is HostState.BACKOFF


# With a fallback.


def test_only_the_candidate_that_refused_is_left_alone() -> None:
    state = Machine(Reconnect(min=2, max=2), candidates=2)
    state, _ = next_state(state, Start(), 0)
    state, actions = next_state(state, lost(1, REFUSED_NOW), 1)
    assert actions == (Connect(2, 1),)
    state, _ = next_state(state, Connected(2), 2)
    assert state.retry_at == 16  # the host itself, though it would be tried every 2 s
    state, _ = next_state(state, lost(2, REFUSED), 3)
    state, actions = next_state(state, RetryDue(2), 4)
    assert actions == (Connect(3, 1),)  # the fallback alone
    state, actions = next_state(state, lost(3, REFUSED), 5)
    assert state.retry_at == 6


def test_home_is_tried_at_once_with_another_key() -> None:
    state, _ = next_state(Machine(candidates=2), Start(), 0)
    state, _ = next_state(state, lost(1, REFUSED_NOW), 1)
    state, _ = next_state(state, Connected(2), 2)
    state, actions = next_state(state, Remedied(), 4)
    assert (state.homing, actions) == (3, (CancelTimer(), Connect(3, 0)))
