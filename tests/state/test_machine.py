"""The machine of one host, told as histories."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.state.told import (
    ASKS,
    PENALTY,
    REFUSED,
    REFUSED_NOW,
    WRONG_KEY,
    after,
    lost,
    one_of_each,
)
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Reconnect
from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.host import decisions as do
from tunnelctl.state.host import events, machine
from tunnelctl.state.host.events import (
    Abandon,
    AskLink,
    AttachForwards,
    Authenticating,
    CancelTimer,
    ClientWaits,
    Closed,
    CloseLink,
    Connect,
    Connected,
    DetachForwards,
    Event,
    Hurry,
    Lost,
    OpenListeners,
    Restart,
    RetryDue,
    Retune,
    Shutdown,
    Start,
    StartTimer,
    Stop,
)
from tunnelctl.state.host.machine import Machine, next_state

CONNECTING = after(Start())
AUTHENTICATING = after(Start(), Authenticating(1))
UP = after(Start(), Authenticating(1), Connected(1))
BACKOFF = after(Start(), lost(1))
FAILED = after(Start(), lost(1, WRONG_KEY))
NEEDS_INPUT = after(Start(), lost(1, ASKS))
STOPPING = after(Start(), Stop())
STOPPED = after(Start(), Stop(), Closed())
EVERY_STATE = (
    Machine(), CONNECTING, AUTHENTICATING, UP, BACKOFF, NEEDS_INPUT, FAILED, STOPPING, STOPPED,
)  # fmt: skip


def test_these_are_all_the_states() -> None:
    assert [m.state for m in EVERY_STATE] == [
        HostState.IDLE,
        HostState.CONNECTING,
        HostState.AUTHENTICATING,
        HostState.UP,
        HostState.BACKOFF,
        HostState.NEEDS_INPUT,
        HostState.FAILED,
        HostState.STOPPING,
        HostState.STOPPED,
    ]
    assert {m.state for m in EVERY_STATE} == set(HostState)


def test_every_state_has_a_row_and_every_event_leads_somewhere() -> None:
    assert set(machine.EVENTS) == set(events.Event.__args__)
    assert set(machine.TABLE) == set(HostState)
    listed = [event for row in machine.TABLE.values() for event in row]
    assert set(listed) == set(machine.EVENTS)


def test_what_is_ignored_is_not_listed() -> None:
    decisions = [decision for row in machine.TABLE.values() for decision in row.values()]
    assert do.ignore not in decisions


@pytest.mark.parametrize("state", EVERY_STATE, ids=str)
def test_every_event_is_met_in_every_state(state: Machine) -> None:
    met = one_of_each(state.epoch)
    assert {type(event) for event in met} == set(machine.EVENTS)
    for event in met:
        step = next_state(state, event, 9.0)
        if type(event) not in machine.TABLE[state.state]:
            assert step == (state, ())


def test_start_binds_the_listeners_and_connects() -> None:
    state, actions = next_state(Machine(), Start(), 5.0)
    assert state.state is HostState.CONNECTING
    assert state.since == 5.0
    assert actions == (OpenListeners(), Connect(1))


def test_a_link_is_given_to_the_forwards() -> None:
    state, actions = next_state(AUTHENTICATING, Connected(1), 2.0)
    assert state.state is HostState.UP
    assert actions == (AttachForwards(1),)


def test_a_lost_link_leaves_the_listeners_and_waits() -> None:
    state, actions = next_state(UP, lost(1), 2.5)
    assert state.state is HostState.BACKOFF
    assert state.failure is REFUSED
    assert actions == (DetachForwards(), CloseLink(1), StartTimer(1, 3.0))
    assert state.retry_at == 3.0


def test_the_timer_begins_the_next_attempt() -> None:
    state, actions = next_state(BACKOFF, RetryDue(1), 2.0)
    assert (state.state, state.epoch) == (HostState.CONNECTING, 2)
    assert actions == (Connect(2),)


def test_waits_double_while_it_fails() -> None:
    state = Machine(Reconnect(min=1, max=6))
    state, _ = next_state(state, Start(), 0)
    waits = []
    for epoch in range(1, 6):
        state, _ = next_state(state, lost(epoch, jitter=0.5), 100)
        assert state.retry_at is not None
        waits.append(state.retry_at - 100)
        state, _ = next_state(state, RetryDue(epoch), 100)
    assert waits == [0.5, 1, 2, 3, 3]
    assert state.attempts == 5


@pytest.mark.parametrize(("up_for", "attempts"), [(29.9, 4), (30.0, 1)])
def test_the_count_begins_anew_only_after_a_link_that_lasted(up_for: float, attempts: int) -> None:
    state = replace(UP, attempts=3, since=0.0, reconnect=Reconnect(stable_after=30))
    state, _ = next_state(state, lost(1), up_for)
    assert state.attempts == attempts


def test_coming_back_counts_as_a_reconnect() -> None:
    assert UP.reconnects == 0
    assert after(Start(), Connected(1), lost(1), RetryDue(1), Connected(2)).reconnects == 1
    assert after(Start(), Connected(1), Restart(), Connected(2)).reconnects == 1


def test_a_server_that_asks_to_be_left_alone_is() -> None:
    penalty = Failure(Code.HANDSHAKE_FAILED, "not allowed at this time", retry_after=60.0)
    machine = after(Start(), lost(1, penalty))
    assert machine.retry_at is not None
    assert machine.retry_at - machine.since == 60.0


def test_being_up_forgets_the_failure() -> None:
    assert after(Start(), lost(1), RetryDue(1), Connected(2)).failure is None


@pytest.mark.parametrize(
    ("failure", "state"),
    [(WRONG_KEY, HostState.FAILED), (ASKS, HostState.NEEDS_INPUT)],
)
def test_what_cannot_pass_by_itself_is_not_repeated(failure: Failure, state: HostState) -> None:
    ended, actions = next_state(AUTHENTICATING, lost(1, failure), 2)
    assert ended.state is state
    assert ended.retry_at is None
    assert actions == ()
    assert next_state(ended, RetryDue(1), 3) == (ended, ())


@pytest.mark.parametrize("failed", [FAILED, NEEDS_INPUT], ids=str)
@pytest.mark.parametrize("event", [Start(), Restart()], ids=str)
def test_the_user_can_have_a_failed_host_tried_again(failed: Machine, event: Event) -> None:
    state, actions = next_state(failed, event, 9)
    assert state.state is HostState.CONNECTING
    assert state.failure is None
    assert actions == (OpenListeners(), Connect(2))


def test_a_second_start_disturbs_nothing_and_tries_failed_listeners() -> None:
    for state in (CONNECTING, AUTHENTICATING, UP, BACKOFF):
        assert next_state(state, Start(), 9) == (state, (OpenListeners(),))


@pytest.mark.parametrize(
    ("state", "before"),
    [
        (CONNECTING, (Abandon(1),)),
        (AUTHENTICATING, (Abandon(1),)),
        (UP, (DetachForwards(), CloseLink(1))),
        (BACKOFF, (CancelTimer(),)),
    ],
    ids=str,
)
def test_a_restart_drops_what_there_is_and_tries_now(
    state: Machine, before: tuple[events.Action, ...]
) -> None:
    fresh, actions = next_state(state, Restart(), 9)
    assert (fresh.state, fresh.epoch, fresh.attempts) == (HostState.CONNECTING, 2, 0)
    assert actions == (*before, OpenListeners(), Connect(2))


def test_stop_drains_over_the_link_that_is_up() -> None:
    assert next_state(UP, Stop(), 9)[1] == (Shutdown(),)
    assert next_state(CONNECTING, Stop(), 9)[1] == (Abandon(1), Shutdown())
    assert next_state(BACKOFF, Stop(), 9)[1] == (CancelTimer(), Shutdown())
    assert next_state(FAILED, Stop(), 9)[1] == (Shutdown(),)


def test_a_late_answer_of_an_older_attempt_changes_nothing() -> None:
    newer = after(Start(), Restart(), Connected(2))
    for late in (lost(1), lost(1, WRONG_KEY), Authenticating(1), RetryDue(1)):
        assert next_state(newer, late, 9) == (newer, ())


@pytest.mark.parametrize("state", EVERY_STATE, ids=str)
def test_a_link_that_nobody_waits_for_is_closed(state: Machine) -> None:
    later = replace(state, epoch=state.epoch + 1)
    assert next_state(later, Connected(state.epoch), 9) == (later, (CloseLink(state.epoch),))


def test_a_repeated_answer_does_not_close_the_link_in_use() -> None:
    assert next_state(UP, Connected(1), 9) == (UP, ())


def test_giving_up_is_for_those_who_asked() -> None:
    policy = Reconnect(min=8, max=60, give_up_after=10)
    state, _ = next_state(Machine(policy), Start(), 0)
    state, _ = next_state(state, lost(1, jitter=0.99), 5)
    assert state.retry_at == 10  # one last try when time is up, not after it
    state, _ = next_state(state, RetryDue(1), 10)
    state, actions = next_state(state, lost(2), 10.5)
    assert state.state is HostState.FAILED
    assert actions == ()


def test_a_shorter_policy_cuts_the_wait_under_way() -> None:
    waiting = replace(BACKOFF, retry_at=500.0)
    state, actions = next_state(waiting, Retune(Reconnect(max=5)), 100)
    assert state.retry_at == 105
    assert actions == (CancelTimer(), StartTimer(1, 105))
    assert next_state(waiting, Retune(Reconnect(max=900)), 100)[0].retry_at == 500


def test_a_new_policy_does_not_touch_a_link() -> None:
    state, actions = next_state(UP, Retune(Reconnect(max=5)), 100)
    assert state == replace(UP, reconnect=Reconnect(max=5))
    assert actions == ()


# A client that waits.

LONG_DOWN = replace(BACKOFF, attempts=9, retry_at=51.0)  # since 1


@pytest.mark.parametrize(
    ("now", "at"), [(1.2, 2.25), (30.0, 30.0)], ids=["right after a try", "long after it"]
)
def test_a_client_that_comes_has_the_host_tried_soon(now: float, at: float) -> None:
    state, actions = next_state(LONG_DOWN, ClientWaits(0.5), now)
    assert state == replace(LONG_DOWN, retry_at=at)
    assert actions == (CancelTimer(), StartTimer(1, at))


def test_a_client_does_not_put_off_a_try_that_comes_sooner() -> None:
    sooner = replace(LONG_DOWN, retry_at=1.5)
    assert next_state(sooner, ClientWaits(0.5), 1.2) == (sooner, ())


@pytest.mark.parametrize(("awaited", "wait"), [(True, 1.25), (False, 30.0)])
def test_the_wait_is_short_only_while_a_client_waits(awaited: bool, wait: float) -> None:
    trying, _ = next_state(LONG_DOWN, RetryDue(1), 51.0)
    state, _ = next_state(trying, Lost(2, REFUSED, 0.5, awaited=awaited), 52.0)
    assert (state.attempts, state.retry_at) == (10, 52.0 + wait)


def test_links_that_did_not_last_do_not_make_a_client_wait() -> None:
    short = replace(UP, attempts=6, since=50.0)
    state, _ = next_state(short, Lost(1, REFUSED, 0.0), 51.0)
    state, _ = next_state(replace(state, retry_at=99.0), ClientWaits(0.9), 51.1)
    assert state.retry_at == pytest.approx(52.45)


@pytest.mark.parametrize(
    ("failure", "rest"), [(PENALTY, 60.0), (REFUSED_NOW, 15.0)], ids=["bars", "refused a login"]
)
def test_a_client_waits_for_a_server_that_is_to_be_left_alone(
    failure: Failure, rest: float
) -> None:
    state = after(Start(), Lost(1, failure, 0.5, awaited=True))
    assert state.retry_at == 1 + rest
    assert next_state(state, ClientWaits(0.0), 5.0) == (state, ())
    longer = replace(state, retry_at=500.0)
    assert next_state(longer, ClientWaits(0.0), 5.0)[0].retry_at == 1 + rest


# Hurry.


def test_a_hurry_ends_a_wait() -> None:
    state, actions = next_state(BACKOFF, Hurry(), 1.1)
    assert (state.state, state.epoch, state.attempts) == (HostState.CONNECTING, 2, 1)
    assert actions == (CancelTimer(), Connect(2))


def test_a_hurry_waits_for_a_server_that_asked_to_be_left_alone() -> None:
    penalty = Failure(Code.HANDSHAKE_FAILED, "not allowed at this time", retry_after=60.0)
    waiting = replace(after(Start(), lost(1, penalty)), retry_at=300.0)
    state, actions = next_state(waiting, Hurry(), 30.0)
    assert (state.state, state.retry_at) == (HostState.BACKOFF, 61.0)
    assert actions == (CancelTimer(), StartTimer(1, 61.0))
    assert next_state(state, Hurry(), 61.0)[0].state is HostState.CONNECTING


def test_a_hurry_asks_a_link_whether_it_lives() -> None:
    assert next_state(UP, Hurry(), 9) == (UP, (AskLink(1),))


@pytest.mark.parametrize("state", [CONNECTING, AUTHENTICATING], ids=str)
def test_a_round_that_is_hurried_has_no_wait_after_it(state: Machine) -> None:
    hurried, actions = next_state(state, Hurry(), 9)
    assert actions == ()
    waiting, actions = next_state(hurried, lost(1), 10)
    assert actions == (StartTimer(1, 10),)
    trying, _ = next_state(waiting, RetryDue(1), 10)
    assert next_state(trying, lost(2), 11)[1] != (StartTimer(2, 11),)
    up, _ = next_state(hurried, Connected(1), 10)
    assert StartTimer(1, 11) not in next_state(up, lost(1), 11)[1]


def test_a_round_that_is_hurried_does_not_bring_a_refused_login_back() -> None:
    hurried, _ = next_state(CONNECTING, Hurry(), 9)
    assert next_state(hurried, lost(1, REFUSED_NOW), 10)[1] == (StartTimer(1, 25),)


@pytest.mark.parametrize("state", [Machine(), FAILED, NEEDS_INPUT, STOPPING], ids=str)
def test_a_hurry_does_not_touch_what_does_not_wait(state: Machine) -> None:
    assert next_state(state, Hurry(), 9) == (state, ())
