"""What each event leads to, for one host: the decisions that the table in `machine.py` picks from.

Every one takes the machine, the event and the time, and gives the machine after it with what is
to be done, in that order. `machine.py` says what is promised. Must never be called but by it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunnelctl.errors import Code, Failure
from tunnelctl.state import backoff
from tunnelctl.state.events import (
    Abandon,
    Action,
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
    Remedied,
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
from tunnelctl.state.facts import Machine, Rest
from tunnelctl.state.snapshot import HostState

Step = tuple[Machine, tuple[Action, ...]]


def _enter(
    machine: Machine,
    state: HostState,
    now: float,
    *,
    retry_at: float | None = None,
    homing: int | None = None,
    **changes: Any,
) -> Machine:
    changes |= {"retry_at": retry_at, "homing": homing}
    return replace(machine, state=state, since=now, **changes)


def ignore(machine: Machine, event: Event, now: float) -> Step:
    return machine, ()


def refuse(machine: Machine, event: Connected, now: float) -> Step:
    return machine, (CloseLink(event.epoch),)


def refuse_if_link(machine: Machine, event: Event) -> Step:
    return machine, (CloseLink(event.epoch),) if isinstance(event, Connected) else ()


# What the user asks for.


def begin(machine: Machine, event: Start | Restart, now: float) -> Step:
    """A try asked for by the user: at once, with everything forgotten that came before."""
    forgotten = replace(
        machine,
        attempts=0,
        trouble_since=now,
        rests=(),
        barred=frozenset(),
        failure=None,
        passed_over=None,
        unused=None,
    )
    after, connect = _try(forgotten, now)
    return after, (*_leave(machine), OpenListeners(), *connect)


def begin_unless_lazy(machine: Machine, event: Start | Restart, now: float) -> Step:
    """`restart` finds out anew whether a server still ends links that carry nothing."""
    rests = machine.lazy or (machine.is_on_demand and isinstance(event, Start))
    return reopen(machine, event, now) if rests else begin(machine, event, now)


def reopen(machine: Machine, event: Start | Restart, now: float) -> Step:
    """It is started already; listeners that failed need not wait for their next try, and a
    candidate that failed for good has its turn again."""
    return replace(machine, barred=frozenset()), (OpenListeners(),)


def reopen_waiting(machine: Machine, event: Start, now: float) -> Step:
    """As `reopen`; what waits after a refused login is tried at once: it may be mended."""
    return begin(machine, event, now) if machine.is_spaced else reopen(machine, event, now)


def reopen_up(machine: Machine, event: Start, now: float) -> Step:
    """As `reopen`; where a fallback serves and the host itself, which failed for good, is not to be
    tried again, it is now: whoever says `up` may have mended it, or be there to answer."""
    after, opened = reopen(machine, event, now)
    is_planned = machine.homing is not None or machine.retry_at is not None
    if not machine.on_fallback or is_planned:
        return after, opened
    trying, connect = _homewards(after)
    return trying, (*opened, *connect)


def stop(machine: Machine, event: Stop, now: float) -> Step:
    # A link that is up stays so for now: Shutdown drains the connections that it carries.
    left = _let_go(machine) if machine.state is HostState.UP else _leave(machine)
    return _enter(machine, HostState.STOPPING, now), (*left, Shutdown())


def closed(machine: Machine, event: Closed, now: float) -> Step:
    return _enter(machine, HostState.STOPPED, now), ()


def retune(machine: Machine, event: Retune, now: float) -> Step:
    same = event.candidates == machine.candidates
    after = replace(
        machine,
        reconnect=event.reconnect,
        lazy=event.lazy,
        candidates=event.candidates,
        barred=machine.barred if same else frozenset(),
        rests=machine.rests if same else (),
    )
    return after, ()


def retune_wait(machine: Machine, event: Retune, now: float) -> Step:
    """A wait that began under the old policy ends when the new one would end it at the latest, but
    nobody is disturbed who is left alone."""
    after, _ = retune(machine, event, now)
    if machine.retry_at is None:
        return after, ()
    rested = after.rested(0) if after.on_fallback else after.earliest(now)
    latest = max(now + event.reconnect.max, rested)
    return _wait_until(after, min(machine.retry_at, latest))


# What the world does.


def hurry_retry(machine: Machine, event: Hurry | Remedied, now: float) -> Step:
    at = machine.earliest(now)
    if now < at:
        return _wait_until(machine, at)
    after, actions = _try(machine, now)
    return after, (CancelTimer(), *actions)


def hurry_round(machine: Machine, event: Hurry, now: float) -> Step:
    """What is under way may fail for how the world was when it began."""
    return replace(machine, hurried=True), ()


def hurry_up(machine: Machine, event: Hurry, now: float) -> Step:
    after, actions = _home_now(machine, now)
    return after, (AskLink(machine.epoch), *actions)


def remedy(machine: Machine, event: Remedied, now: float) -> Step:
    """The wait after a refused login is over."""
    if not machine.is_spaced:
        return machine, ()
    return hurry_retry(machine.forgiven(), event, now)


def remedy_up(machine: Machine, event: Remedied, now: float) -> Step:
    """A fallback serves, as the host itself refused a login."""
    return _home_now(machine.forgiven(), now) if machine.is_spaced else (machine, ())


def forgive(machine: Machine, event: Remedied, now: float) -> Step:
    return machine.forgiven(), ()


def wake(machine: Machine, event: Wake, now: float) -> Step:
    if not machine.is_on_demand:
        return machine, ()
    fresh = replace(machine, attempts=0, trouble_since=now)
    at = machine.earliest(now)
    if now < at:
        return _enter(fresh, HostState.BACKOFF, now, retry_at=at), (StartTimer(machine.epoch, at),)
    return _try(fresh, now)


def rest(machine: Machine, event: Idle, now: float) -> Step:
    if not machine.lazy:
        return machine, ()
    return _rested(machine, now), _leave(machine)


# What became of an attempt and its link.


def retry(machine: Machine, event: RetryDue, now: float) -> Step:
    return _try(machine, now)


def authenticate(machine: Machine, event: Authenticating, now: float) -> Step:
    return _enter(machine, HostState.AUTHENTICATING, now, homing=machine.homing), ()


def up(machine: Machine, event: Connected, now: float) -> Step:
    at_home = machine.candidate == 0
    after = _enter(
        machine,
        HostState.UP,
        now,
        homing=machine.homing,
        was_up=True,
        reconnects=machine.reconnects + machine.was_up,
        rests=machine.rests_of_others(machine.candidate),
        hurried=False,
        failure=None,
        passed_over=None if at_home else machine.passed_over,
    )
    attach = AttachForwards(machine.epoch)
    if at_home or 0 in machine.barred or machine.homing is not None:
        return after, (attach,)
    at = max(now + machine.reconnect.max, machine.rested(0))
    return replace(after, retry_at=at), (attach, StartTimer(machine.epoch, at))


def lost_attempt(machine: Machine, event: Lost, now: float) -> Step:
    """One candidate failed: the next one's turn; after the last one, a wait."""
    after = _noted(machine, event.failure, machine.candidate, now)
    following = after.first(machine.candidate + 1, now)
    if following is not None:
        return _connect(after, following, now, homing=machine.homing)
    if machine.homing is not None:  # the host itself is still tried
        return _enter(after, HostState.CONNECTING, now, epoch=machine.homing, candidate=0), ()
    return _end_round(replace(after, attempts=machine.attempts + 1), event.jitter, now)


def silent(machine: Machine, event: Silent, now: float) -> Step:
    """A program waits, maybe for a person: the other candidates' turn meanwhile. The host itself
    goes on being tried beside them; of the fallbacks the last one does."""
    following = machine.first(machine.candidate + 1, now)
    if following is not None:
        noted = _noted(machine, event.failure, machine.candidate, now)
        if machine.candidate == 0:
            return _connect(noted, following, now, homing=machine.epoch)
        after, connect = _connect(noted, following, now, homing=machine.homing)
        return after, (Abandon(machine.epoch), *connect)
    is_over = machine.homing is None and machine.candidate > 0 and 0 in machine.left
    return _homewards(machine) if is_over and machine.rested(0) <= now else (machine, ())


def lost_link(machine: Machine, event: Lost, now: float) -> Step:
    lasted = now - machine.since >= machine.reconnect.stable_after
    after = replace(
        _noted(machine, event.failure, machine.candidate, now),
        attempts=1 if lasted else machine.attempts + 1,
        trouble_since=now if lasted else machine.trouble_since,
        unused=None,
    )
    if machine.homing is not None:  # the try under way is the next attempt
        at_home = _enter(after, HostState.CONNECTING, now, epoch=machine.homing, candidate=0)
        return at_home, _drop_link(machine)
    ended, actions = _end_round(after, event.jitter, now)
    return ended, (*_leave(machine), *actions)


def unused(machine: Machine, event: Unused, now: float) -> Step:
    """As after `rest`; where a link is needed all the same it is made anew, with no count of tries:
    each of them got through."""
    told = replace(machine, attempts=0, trouble_since=now, unused=event.why, needed=event.needed)
    left = _leave(machine)
    if not event.needed:
        return _rested(told, now), left
    at = now + backoff.delay(machine.reconnect, 0, event.jitter)
    after = _enter(told, HostState.BACKOFF, now, retry_at=at, failure=event.why)
    return after, (*left, StartTimer(machine.epoch, at))


def go_home(machine: Machine, event: RetryDue | Hurry, now: float) -> Step:
    """A fallback serves: see whether the host itself is back."""
    return (machine, ()) if machine.retry_at is None else _homewards(machine)


def homing(machine: Machine, event: Event, now: float) -> Step:
    """An answer of the try of the host itself, while a fallback serves, or is tried."""
    is_up = machine.state is HostState.UP
    if isinstance(event, Connected) and not is_up:
        home = replace(machine, epoch=event.epoch, candidate=0, homing=None)
        after, actions = up(home, event, now)
        return after, (Abandon(machine.epoch), *actions)
    if isinstance(event, Connected):
        after = _enter(
            machine,
            HostState.UP,
            now,
            epoch=event.epoch,
            candidate=0,
            reconnects=machine.reconnects + 1,
            rests=machine.rests_of_others(0),
            passed_over=None,
        )
        return after, (MoveForwards(event.epoch), RetireLink(machine.epoch))
    if not isinstance(event, Lost):
        return machine, ()
    after = replace(_noted(machine, event.failure, 0, now), homing=None)
    if not is_up:
        return after, ()
    after = replace(after, failure=None)
    if 0 in after.barred:
        return after, ()
    at = max(now + machine.reconnect.max, after.rested(0))
    return replace(after, retry_at=at), (StartTimer(machine.epoch, at),)


# The parts of a decision.


def _try(machine: Machine, now: float) -> Step:
    """Begin a round with the first candidate that may be tried. When time is up (`give_up_after`)
    that may be one that rests."""
    candidate = machine.first(0, now)
    if candidate is None:
        candidate = machine.left[0]  # a machine that barred all has failed
    return _connect(replace(machine, hurried=False), candidate, now)


def _connect(machine: Machine, candidate: int, now: float, *, homing: int | None = None) -> Step:
    epoch = machine.newest + 1
    changes = {"epoch": epoch, "newest": epoch, "candidate": candidate}
    after = _enter(machine, HostState.CONNECTING, now, homing=homing, **changes)
    return after, (Connect(epoch, candidate),)


def _homewards(machine: Machine) -> Step:
    """Try the host itself beside the fallback."""
    epoch = machine.newest + 1
    return replace(machine, newest=epoch, homing=epoch, retry_at=None), (Connect(epoch, 0),)


def _home_now(machine: Machine, now: float) -> Step:
    """A fallback serves, and the host itself is to be tried again later: now, if it may be."""
    if machine.retry_at is None or now < machine.rested(0):
        return machine, ()
    after, actions = _homewards(machine)
    return after, (CancelTimer(), *actions)


def _noted(machine: Machine, failure: Failure, candidate: int, now: float) -> Machine:
    """The machine that knows how this candidate failed."""
    rests = machine.rests_of_others(candidate)
    if failure.retry_after > 0:
        # A server that asks to be left alone punishes whoever comes back sooner.
        rests += (Rest(candidate, now + failure.retry_after, asked=not failure.spaced),)
    return replace(
        machine,
        failure=failure,
        passed_over=failure if candidate == 0 else machine.passed_over,
        barred=machine.barred if failure.retryable else machine.barred | {candidate},
        rests=rests,
    )


def _end_round(machine: Machine, jitter: float, now: float) -> Step:
    """Nobody can be had now: wait, or stop for good."""
    assert machine.failure is not None
    left = machine.left
    if not left or _gives_up(machine, now):
        # What the host itself said weighs more than what its last fallback did.
        failure = machine.passed_over or machine.failure
        needs_input = failure.code is Code.NEEDS_INPUT
        ended = HostState.NEEDS_INPUT if needs_input else HostState.FAILED
        return _enter(machine, ended, now, failure=failure), ()
    wait = backoff.delay(machine.reconnect, machine.attempts - 1, jitter)
    due = now if machine.hurried else now + wait
    spaced = {rest.candidate for rest in machine.rests if not rest.asked}
    # How long a login that was refused is left alone is said with the refusal.
    waits = (machine.rested(c) if c in spaced else max(due, machine.rested(c)) for c in left)
    at = _not_after_giving_up(machine, max(now, min(waits)))
    return _enter(machine, HostState.BACKOFF, now, retry_at=at), (StartTimer(machine.epoch, at),)


def _wait_until(machine: Machine, at: float) -> Step:
    """Another end for the wait under way."""
    at = _not_after_giving_up(machine, at)
    return replace(machine, retry_at=at), (CancelTimer(), StartTimer(machine.epoch, at))


def _let_go(machine: Machine) -> tuple[Action, ...]:
    """End what may be under way beside the state itself."""
    timer = () if machine.retry_at is None else (CancelTimer(),)
    homing = () if machine.homing is None else (Abandon(machine.homing),)
    return (*timer, *homing)


def _rested(machine: Machine, now: float) -> Machine:
    """The next link will be for a client, and takes the place of none that was lost."""
    return _enter(machine, HostState.IDLE, now, attempts=0, was_up=False)


def _leave(machine: Machine) -> tuple[Action, ...]:
    """What has to go when the machine leaves its state for another."""
    match machine.state:
        case HostState.CONNECTING | HostState.AUTHENTICATING:
            return (*_let_go(machine), Abandon(machine.epoch))
        case HostState.UP:
            return (*_let_go(machine), *_drop_link(machine))
        case _:
            return _let_go(machine)


def _drop_link(machine: Machine) -> tuple[Action, ...]:
    return (DetachForwards(), CloseLink(machine.epoch))


def _gives_up(machine: Machine, now: float) -> bool:
    limit = machine.reconnect.give_up_after
    return limit is not None and now >= machine.trouble_since + limit


def _not_after_giving_up(machine: Machine, at: float) -> float:
    """The last try comes when time is up, not after a wait that reaches beyond it."""
    limit = machine.reconnect.give_up_after
    return at if limit is None else min(at, machine.trouble_since + limit)
