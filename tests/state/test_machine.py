"""The machine of one host, told as histories, by hand and at random."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Reconnect
from tunnelctl.state import events, machine
from tunnelctl.state.events import (
    Abandon,
    AskLink,
    AttachForwards,
    Authenticating,
    CancelTimer,
    Closed,
    CloseLink,
    Connect,
    Connected,
    DetachForwards,
    Event,
    Hurry,
    Idle,
    Lost,
    MoveForwards,
    OpenListeners,
    Restart,
    RetireLink,
    RetryDue,
    Retune,
    Shutdown,
    Start,
    StartTimer,
    Stop,
    Wake,
)
from tunnelctl.state.machine import Machine, next_state
from tunnelctl.state.snapshot import HostState

REFUSED = Failure(Code.CONNECTION_REFUSED, "bastion refused the connection")
WRONG_KEY = Failure(Code.AUTH_FAILED, "bastion took none of the keys")
ASKS = Failure(Code.NEEDS_INPUT, "bastion asks for a code")


def after(*history: Event, reconnect: Reconnect | None = None) -> Machine:
    """The machine after events that came one second apart, the first at 0."""
    state = Machine(reconnect or Reconnect())
    for now, event in enumerate(history):
        state, _ = next_state(state, event, now)
    return state


def lost(epoch: int, failure: Failure = REFUSED, jitter: float = 0.5) -> Lost:
    return Lost(epoch, failure, jitter)


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


def test_the_table_has_every_state_times_every_event() -> None:
    assert set(machine.COLUMNS) == set(events.Event.__args__)
    assert set(machine.ROWS) == set(HostState)
    assert all(len(row) == len(machine.COLUMNS) for row in machine.ROWS.values())


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


@pytest.mark.parametrize(
    "state", [Machine(), CONNECTING, AUTHENTICATING, FAILED, NEEDS_INPUT, STOPPING], ids=str
)
def test_a_hurry_does_not_touch_what_does_not_wait(state: Machine) -> None:
    assert next_state(state, Hurry(), 9) == (state, ())


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
    assert next_state(UP, Idle(), 9) == (UP, ())
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


# Random histories. The world below does what the actions say and nothing else, so that what it
# holds is what a supervisor would hold.


@dataclass
class World:
    """Attempts, links and timers as the actions asked for them."""

    attempts: set[int] = field(default_factory=set)
    links: set[int] = field(default_factory=set)
    attached: bool = False
    timer: int | None = None
    connects: list[int] = field(default_factory=list)
    shutting_down: bool = False

    def before(self, event: Event) -> None:
        """What the event itself says of the world."""
        match event:
            case Connected(epoch):
                self.attempts.discard(epoch)
                self.links.add(epoch)
            case Lost(epoch):
                self.attempts.discard(epoch)
            case RetryDue(epoch) if self.timer == epoch:
                self.timer = None
            case Closed() if self.shutting_down:
                self.links.clear()
                self.attached = False

    def act(self, action: events.Action) -> None:
        match action:
            case Connect(epoch):
                self.attempts.add(epoch)
                self.connects.append(epoch)
            case Abandon(epoch):
                self.attempts.remove(epoch)
            case AttachForwards(epoch):
                assert epoch in self.links
                assert not self.attached
                self.attached = True
            case MoveForwards(epoch):
                assert epoch in self.links
                assert self.attached
            case RetireLink(epoch):
                self.links.remove(epoch)
            case AskLink(epoch):
                assert epoch in self.links
            case DetachForwards():
                assert self.attached
                self.attached = False
            case CloseLink(epoch):
                self.links.remove(epoch)
            case StartTimer(epoch, _):
                assert self.timer is None
                self.timer = epoch
            case CancelTimer():
                assert self.timer is not None
                self.timer = None
            case Shutdown():
                self.shutting_down = True


FAILURES = st.sampled_from([REFUSED, WRONG_KEY, ASKS])
EPOCHS_BACK = st.sampled_from([0, 0, 0, 1, 2])
# A stop is for good, so it is rare; what makes a link come and go is not.
KINDS = st.sampled_from(
    ["start", "restart", "auth", "connected", "lost", "retry"] * 4
    + ["hurry", "wake", "idle"] * 2
    + ["retune", "closed", "stop"]
)
STEPS = st.lists(
    st.tuples(
        KINDS,
        EPOCHS_BACK,
        FAILURES,
        st.floats(0, 1, exclude_max=True),
        st.floats(0, 100),  # seconds since the event before
    ),
    min_size=20,
    max_size=60,
)
POLICIES = st.builds(
    Reconnect,
    min=st.floats(0.1, 5),
    max=st.floats(5, 60),
    stable_after=st.floats(0, 60),
    give_up_after=st.none() | st.floats(0, 300),
)


def event_of(kind: str, epoch: int, failure: Failure, jitter: float, policy: Reconnect) -> Event:
    makers: dict[str, Event] = {
        "start": Start(),
        "restart": Restart(),
        "stop": Stop(),
        "closed": Closed(),
        "retune": Retune(policy, lazy=jitter < 0.5, candidates=1 + int(jitter * 3)),
        "hurry": Hurry(),
        "wake": Wake(),
        "idle": Idle(),
        "auth": Authenticating(epoch),
        "connected": Connected(epoch),
        "lost": Lost(epoch, failure, jitter),
        "retry": RetryDue(epoch),
    }
    return makers[kind]


def can_happen(world: World, event: Event) -> bool:
    """Whether a supervisor could meet the event: an attempt answers once, and only if asked."""
    match event:
        case Connected(epoch):
            return epoch in world.connects and epoch not in world.links
        case Lost(epoch) | Authenticating(epoch):
            return epoch in world.connects
        case Closed():
            return world.shutting_down
        case _:
            return True


@given(STEPS, POLICIES, POLICIES, st.booleans(), st.integers(1, 3))
def test_random_histories(
    steps: list[tuple[str, int, Failure, float, float]],
    policy: Reconnect,
    other: Reconnect,
    lazy: bool,
    candidates: int,
) -> None:
    state, world, now = Machine(policy, lazy, candidates), World(), 0.0
    stop_seen = False
    for kind, back, failure, jitter, pause in steps:
        now += pause
        event = event_of(kind, max(0, state.newest - back), failure, jitter, other)
        if not can_happen(world, event):
            continue
        before = state
        world.before(event)
        state, actions = next_state(state, event, now)
        for action in actions:
            world.act(action)
        connected = any(isinstance(a, Connect) for a in actions)

        # Never up without a Connected of the current epoch, and the link it brought.
        if state.state is HostState.UP and before.epoch != state.epoch:
            assert event == Connected(state.epoch)
        if state.state is HostState.UP and before.state is not HostState.UP:
            assert event == Connected(state.epoch)
        assert (state.state is HostState.UP) <= (state.epoch in world.links)
        # Nothing is held that no state stands for: at most one attempt or link, one timer.
        trying = state.state in (HostState.CONNECTING, HostState.AUTHENTICATING)
        homing = set() if state.homing is None else {state.homing}
        assert world.attempts == ({state.epoch} if trying else homing)
        assert not homing or state.on_fallback
        if state.state is not HostState.STOPPING:
            assert world.links == ({state.epoch} if state.state is HostState.UP else set())
            assert world.attached is (state.state is HostState.UP)
        assert (world.timer is not None) is (state.retry_at is not None)
        if state.retry_at is None:
            assert state.state is not HostState.BACKOFF
        else:
            assert state.state is HostState.BACKOFF or state.on_fallback
        # A failure that cannot pass by itself is repeated only when the user says so.
        if before.state in (HostState.FAILED, HostState.NEEDS_INPUT) and connected:
            assert isinstance(event, Start | Restart)
        # It gives up on what may pass only where the profile says so.
        if state.state is HostState.FAILED and isinstance(event, Lost) and before != state:
            assert not failure.retryable or before.reconnect.give_up_after is not None
        # A stop is for good; a restart before it gets a try now.
        stop_seen = stop_seen or isinstance(event, Stop)
        assert stop_seen is (state.state in (HostState.STOPPING, HostState.STOPPED))
        if isinstance(event, Restart) and not stop_seen and before.state is not HostState.IDLE:
            assert connected
            assert state.state is HostState.CONNECTING
        # Only a lazy host rests, and only a client wakes it.
        if state.state is HostState.IDLE and before.state is not HostState.IDLE:
            assert before.lazy
            assert event == Idle()
        # A server that asks to be left alone is; a user's word is above it.
        if connected and not isinstance(event, Start | Restart | Lost):
            assert now >= before.not_before
        assert len(set(world.connects)) == len(world.connects)

    if not stop_seen:
        world.before(Stop())
        state, actions = next_state(state, Stop(), now)
        assert actions[-1] == Shutdown()
    state, _ = next_state(state, Closed(), now)
    assert state.state is HostState.STOPPED
