"""The machine of one host in random histories: what holds whatever happens."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from tests.state.told import ASKS, PENALTY, REFUSED, REFUSED_NOW, WAITS, WRONG_KEY
from tunnelctl.errors import Failure
from tunnelctl.spec.host import Reconnect
from tunnelctl.state import backoff
from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.host import events
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
    Idle,
    Lost,
    MoveForwards,
    PromoteLink,
    Remedied,
    Replaced,
    Restart,
    RetireLink,
    RetryDue,
    Retune,
    Shutdown,
    Silent,
    Start,
    StartTimer,
    Stop,
    Unused,
    Wake,
)
from tunnelctl.state.host.machine import Machine, next_state

# The world below does what the actions say and nothing else, so that what it
# holds is what a supervisor would hold.


@dataclass
class World:
    """Attempts, links and timers as the actions asked for them."""

    attempts: set[int] = field(default_factory=set)
    links: set[int] = field(default_factory=set)
    attached: bool = False
    timer: int | None = None
    due: float = 0.0  # when the timer runs out
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
            case PromoteLink(epoch):
                assert epoch not in self.connects
                self.links.add(epoch)
                self.connects.append(epoch)
            case RetireLink(epoch):
                self.links.remove(epoch)
            case AskLink(epoch):
                assert epoch in self.links
            case DetachForwards():
                assert self.attached
                self.attached = False
            case CloseLink(epoch):
                self.links.remove(epoch)
            case StartTimer(epoch, at):
                assert self.timer is None
                self.timer, self.due = epoch, at
            case CancelTimer():
                assert self.timer is not None
                self.timer = None
            case Shutdown():
                self.shutting_down = True


FAILURES = st.sampled_from([REFUSED, WRONG_KEY, ASKS, REFUSED_NOW, PENALTY])
EPOCHS_BACK = st.sampled_from([0, 0, 0, 1, 2])
# A stop is for good, so it is rare; what makes a link come and go is not.
KINDS = st.sampled_from(
    ["start", "restart", "auth", "connected", "lost", "retry"] * 4
    + ["hurry", "remedied", "wake", "idle", "unused", "replaced", "silent", "silent", "waits"] * 2
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
        "remedied": Remedied(),
        "wake": Wake(),
        "idle": Idle(),
        "auth": Authenticating(epoch),
        "connected": Connected(epoch),
        "lost": Lost(
            epoch,
            failure,
            jitter,
            at_once=jitter < 0.3 and failure is REFUSED,
            awaited=0.2 < jitter < 0.6,
        ),
        "unused": Unused(epoch, failure, needed=jitter < 0.5, jitter=jitter),
        "replaced": Replaced(epoch),
        "retry": RetryDue(epoch),
        "silent": Silent(epoch, WAITS),
        "waits": ClientWaits(jitter),
    }
    return makers[kind]


def asks_again(machine: Machine, event: Event) -> bool:
    """Whether a host that needs input is tried since a key changed, with all forgotten."""
    return machine.state is HostState.NEEDS_INPUT and isinstance(event, Remedied)


def is_awaited(event: Event) -> bool:
    """Whether a client waits for the next try."""
    return isinstance(event, ClientWaits) or (isinstance(event, Lost) and event.awaited)


def check_clients_wait(before: Machine, event: Event, after: Machine, now: float) -> None:
    """A client that waits sees the next try soon, and puts none off."""
    if after.state is HostState.BACKOFF and is_awaited(event) and after != before:
        assert after.retry_at is not None
        soon = max(after.since + backoff.AWAITED_MAX, after.earliest(now))
        assert after.retry_at <= soon or after.is_spaced
    if isinstance(event, ClientWaits) and before.retry_at is not None:
        assert after.retry_at is not None
        assert after == replace(before, retry_at=after.retry_at)
        assert after.retry_at <= before.retry_at


def check_left_alone(before: Machine, event: Event, tried: int, now: float) -> None:
    """Who asks to be left alone, or refused a login, is; a user's word is above it. A refusal is
    forgotten when what was refused is another, and nobody waits beyond `give_up_after`."""
    rests = before.forgiven() if isinstance(event, Remedied) else before
    is_last = before.reconnect.give_up_after is not None and isinstance(event, RetryDue)
    assert rests.rested(tried) <= now or is_last


def can_happen(world: World, event: Event) -> bool:
    """Whether a supervisor could meet the event: an attempt answers once, and only if asked."""
    match event:
        case Connected(epoch):
            return epoch in world.connects and epoch not in world.links
        case Lost(epoch) | Authenticating(epoch):
            return epoch in world.connects
        case Unused(epoch) | Replaced(epoch):
            return epoch in world.links
        case Silent(epoch):
            return epoch in world.attempts
        case Closed():
            return world.shutting_down
        case _:
            return True


@given(STEPS, POLICIES, POLICIES, st.booleans(), st.integers(1, 3))
def test_random_histories(  # noqa: C901, PLR0912, PLR0915 - one world; a part would need all of it
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
        if isinstance(event, RetryDue) and event.epoch == world.timer:
            now = max(now, world.due)
        if not can_happen(world, event):
            continue
        before = state
        world.before(event)
        state, actions = next_state(state, event, now)
        for action in actions:
            world.act(action)
        connected = any(isinstance(a, Connect) for a in actions)

        # Never up without a Connected of the current epoch, and the link it brought, or a link
        # that takes the place of the one that ended.
        if state.state is HostState.UP and before.epoch != state.epoch:
            assert event in (Connected(state.epoch), Replaced(before.epoch))
        if state.state is HostState.UP and before.state is not HostState.UP:
            assert event == Connected(state.epoch)
        assert (state.state is HostState.UP) <= (state.epoch in world.links)
        # Nothing is held that no state stands for: an attempt or a link, one of the host itself
        # beside that of a fallback, and one timer.
        trying = state.state in (HostState.CONNECTING, HostState.AUTHENTICATING)
        homing = set() if state.homing is None else {state.homing}
        assert world.attempts == ({state.epoch} if trying else set()) | homing
        assert not homing or state.on_fallback or (trying and state.candidate > 0)
        # What is silent is not left for another that cannot be tried, nor begun a second time.
        if isinstance(event, Silent) and before.candidate == 0 and before.homing is None:
            assert before.epoch in world.attempts
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
            assert isinstance(event, Start | Restart) or asks_again(before, event)
        # It gives up on what may pass only where the profile says so.
        if state.state is HostState.FAILED and isinstance(event, Lost) and before != state:
            assert not failure.retryable or before.reconnect.give_up_after is not None
        # A stop is for good; a restart before it gets a try now.
        stop_seen = stop_seen or isinstance(event, Stop)
        assert stop_seen is (state.state in (HostState.STOPPING, HostState.STOPPED))
        if isinstance(event, Restart) and not stop_seen and before.state is not HostState.IDLE:
            assert connected
            assert state.state is HostState.CONNECTING
        check_clients_wait(before, event, state, now)
        # Only a lazy host rests, or one whose server ends links that nothing needs.
        if state.state is HostState.IDLE and before.state is not HostState.IDLE:
            assert (before.lazy and event == Idle()) or isinstance(event, Unused)
        # A link that its server ends for want of use is no failed try.
        if isinstance(event, Unused) and before != state:
            assert state.attempts == 0
            assert state.state is (HostState.BACKOFF if event.needed else HostState.IDLE)
        tried = [a.candidate for a in actions if isinstance(a, Connect)]
        if tried and not isinstance(event, Start | Restart) and not asks_again(before, event):
            check_left_alone(before, event, tried[0], now)
        assert len(set(world.connects)) == len(world.connects)

    if not stop_seen:
        world.before(Stop())
        state, actions = next_state(state, Stop(), now)
        assert actions[-1] == Shutdown()
    state, _ = next_state(state, Closed(), now)
    assert state.state is HostState.STOPPED
