"""The decisions for one host: which machine and actions follow from an event in a state.

Each takes the machine, the event and the time, and returns the next machine and the actions to
carry out in order. The rules that all of them keep are in `machine.py`. Must never be called by
anything but the table and `next_state`.
"""

from __future__ import annotations

from dataclasses import replace

from tunnelctl.state import backoff
from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.host.events import (
    Abandon,
    AskLink,
    AttachForwards,
    Authenticating,
    CancelTimer,
    ClientWaits,
    Closed,
    CloseLink,
    Connected,
    Event,
    Hurry,
    Idle,
    Lost,
    MoveForwards,
    OpenListeners,
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
from tunnelctl.state.host.facts import Machine
from tunnelctl.state.host.transitions import (
    Step,
    begin_round,
    drop_link,
    end_round,
    enter,
    go_idle,
    leave,
    let_go,
    note_failure,
    try_candidate,
    try_home,
    try_home_now,
    wait_until,
)


def ignore(machine: Machine, event: Event, now: float) -> Step:
    return machine, ()


def refuse(machine: Machine, event: Connected, now: float) -> Step:
    return machine, (CloseLink(event.epoch),)


def refuse_if_link(machine: Machine, event: Event) -> Step:
    return machine, (CloseLink(event.epoch),) if isinstance(event, Connected) else ()


# Orders of the user.


def begin(machine: Machine, event: Start | Restart, now: float) -> Step:
    """The user asked for an attempt: connect at once, and forget earlier failures."""
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
    after, connect = begin_round(forgotten, now)
    return after, (*leave(machine), OpenListeners(), *connect)


def begin_unless_lazy(machine: Machine, event: Start | Restart, now: float) -> Step:
    """Also connects a host that is idle because its server ends unused links: the user expects to
    see whether it still works."""
    return reopen(machine, event, now) if machine.lazy else begin(machine, event, now)


def reopen(machine: Machine, event: Start | Restart, now: float) -> Step:
    """The host is started already. Failed listeners are tried again now, and candidates that failed
    permanently may be tried again."""
    return replace(machine, barred=frozenset()), (OpenListeners(),)


def reopen_waiting(machine: Machine, event: Start, now: float) -> Step:
    """As `reopen`; a host that waits after a refused login connects now, because the cause may have
    been removed."""
    return begin(machine, event, now) if machine.is_spaced else reopen(machine, event, now)


def reopen_up(machine: Machine, event: Start, now: float) -> Step:
    """As `reopen`. If a fallback serves and no attempt of the host itself is planned, because it
    failed permanently, it is tried now: the cause may have been removed, or a person can answer
    now."""
    after, opened = reopen(machine, event, now)
    is_planned = machine.homing is not None or machine.retry_at is not None
    if not machine.on_fallback or is_planned:
        return after, opened
    trying, connect = try_home(after)
    return trying, (*opened, *connect)


def stop(machine: Machine, event: Stop, now: float) -> Step:
    # A link that is up stays up for now: Shutdown drains its connections.
    left = let_go(machine) if machine.state is HostState.UP else leave(machine)
    return enter(machine, HostState.STOPPING, now), (*left, Shutdown())


def closed(machine: Machine, event: Closed, now: float) -> Step:
    return enter(machine, HostState.STOPPED, now), ()


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
    """A delay that began under the old policy ends no later than the new policy allows, but never
    before the time that a server requested."""
    after, _ = retune(machine, event, now)
    if machine.retry_at is None:
        return after, ()
    rested = after.rested(0) if after.on_fallback else after.earliest(now)
    latest = max(now + event.reconnect.max, rested)
    return wait_until(after, min(machine.retry_at, latest))


# Changes in the surroundings.


def hurry_retry(machine: Machine, event: Hurry | Remedied, now: float) -> Step:
    at = machine.earliest(now)
    if now < at:
        return wait_until(machine, at)
    after, actions = begin_round(machine, now)
    return after, (CancelTimer(), *actions)


def hasten(machine: Machine, event: ClientWaits, now: float) -> Step:
    """A client waits, so the delay is cut to the short one."""
    failed = max(machine.attempts - 1, 0)
    wait = backoff.awaited_delay(machine.reconnect, failed, event.jitter)
    at = max(machine.since + wait, machine.earliest(now))
    if machine.retry_at is None or machine.retry_at <= at:
        return machine, ()
    return wait_until(machine, at)


def hurry_round(machine: Machine, event: Hurry, now: float) -> Step:
    """The attempt under way began before the change, and may fail because of that."""
    return replace(machine, hurried=True), ()


def hurry_up(machine: Machine, event: Hurry, now: float) -> Step:
    after, actions = try_home_now(machine, now)
    return after, (AskLink(machine.epoch), *actions)


def remedy(machine: Machine, event: Remedied, now: float) -> Step:
    """The delay after a refused login ends now."""
    if not machine.is_spaced:
        return machine, ()
    return hurry_retry(machine.forgiven(), event, now)


def remedy_up(machine: Machine, event: Remedied, now: float) -> Step:
    """A fallback serves because the host itself refused a login."""
    return try_home_now(machine.forgiven(), now) if machine.is_spaced else (machine, ())


def forgive(machine: Machine, event: Remedied, now: float) -> Step:
    return machine.forgiven(), ()


def wake(machine: Machine, event: Wake, now: float) -> Step:
    if not machine.is_on_demand:
        return machine, ()
    fresh = replace(machine, attempts=0, trouble_since=now)
    at = machine.earliest(now)
    if now < at:
        return enter(fresh, HostState.BACKOFF, now, retry_at=at), (StartTimer(machine.epoch, at),)
    return begin_round(fresh, now)


def rest(machine: Machine, event: Idle, now: float) -> Step:
    if not machine.lazy:
        return machine, ()
    return go_idle(machine, now), leave(machine)


# Results of an attempt or a link.


def retry(machine: Machine, event: RetryDue, now: float) -> Step:
    return begin_round(machine, now)


def authenticate(machine: Machine, event: Authenticating, now: float) -> Step:
    return enter(machine, HostState.AUTHENTICATING, now, homing=machine.homing), ()


def up(machine: Machine, event: Connected, now: float) -> Step:
    at_home = machine.candidate == 0
    after = enter(
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
    """One candidate failed: try the next one; after the last one, wait."""
    after = note_failure(machine, event.failure, machine.candidate, now)
    following = after.first(machine.candidate + 1, now)
    if following is not None:
        return try_candidate(after, following, now, homing=machine.homing)
    if machine.homing is not None:  # the host itself is still being tried
        return enter(after, HostState.CONNECTING, now, epoch=machine.homing, candidate=0), ()
    return end_round(replace(after, attempts=machine.attempts + 1), event, now)


def silent(machine: Machine, event: Silent, now: float) -> Step:
    """The attempt waits for a program, possibly for a person, so the next candidate is tried
    meanwhile. The attempt of the host itself continues; among fallbacks, only the last one
    continues. If no other candidate can be tried, status shows what the host waits for."""
    following = machine.first(machine.candidate + 1, now)
    if following is not None:
        noted = note_failure(machine, event.failure, machine.candidate, now)
        if machine.candidate == 0:
            return try_candidate(noted, following, now, homing=machine.epoch)
        after, connect = try_candidate(noted, following, now, homing=machine.homing)
        return after, (Abandon(machine.epoch), *connect)
    is_over = machine.homing is None and machine.candidate > 0 and 0 in machine.left
    told = replace(machine, waits=event.failure)
    return try_home(told) if is_over and machine.rested(0) <= now else (told, ())


def login_waits(machine: Machine, event: Silent, now: float) -> Step:
    """As `silent`, but a question that a fallback asks is not interrupted by the next candidate."""
    if machine.candidate == 0:
        return silent(machine, event, now)
    return replace(machine, waits=event.failure), ()


def lost_link(machine: Machine, event: Lost, now: float) -> Step:
    lasted = now - machine.since >= machine.reconnect.stable_after
    after = replace(
        note_failure(machine, event.failure, machine.candidate, now),
        attempts=1 if lasted else machine.attempts + 1,
        trouble_since=now if lasted else machine.trouble_since,
        unused=None,
    )
    if machine.homing is not None:  # the attempt under way is the next attempt
        at_home = enter(after, HostState.CONNECTING, now, epoch=machine.homing, candidate=0)
        return at_home, drop_link(machine)
    if event.at_once and after.attempts == 1:
        following, actions = begin_round(after, now)
    else:
        following, actions = end_round(after, event, now)
    return following, (*leave(machine), *actions)


def promote(machine: Machine, event: Replaced, now: float) -> Step:
    """Another link to the server takes over the forwards: the host stays up."""
    epoch = machine.newest + 1
    after = replace(machine, epoch=epoch, newest=epoch, reconnects=machine.reconnects + 1)
    moved = (CloseLink(machine.epoch), PromoteLink(epoch), MoveForwards(epoch))
    if machine.retry_at is None:
        return after, moved
    return after, (*moved, CancelTimer(), StartTimer(epoch, machine.retry_at))


def unused(machine: Machine, event: Unused, now: float) -> Step:
    """As after `rest`. If a link is needed nevertheless, it is made again without counting
    attempts, because each of them succeeded."""
    told = replace(machine, attempts=0, trouble_since=now, unused=event.why, needed=event.needed)
    left = leave(machine)
    if not event.needed:
        return go_idle(told, now), left
    at = now + backoff.delay(machine.reconnect, 0, event.jitter)
    after = enter(told, HostState.BACKOFF, now, retry_at=at, failure=event.why)
    return after, (*left, StartTimer(machine.epoch, at))


def go_home(machine: Machine, event: RetryDue | Hurry, now: float) -> Step:
    """A fallback serves: try whether the host itself is back."""
    return (machine, ()) if machine.retry_at is None else try_home(machine)


def homing(machine: Machine, event: Event, now: float) -> Step:
    """A result of the attempt of the host itself, while a fallback is tried or serves."""
    is_up = machine.state is HostState.UP
    if isinstance(event, Connected) and not is_up:
        home = replace(machine, epoch=event.epoch, candidate=0, homing=None)
        after, actions = up(home, event, now)
        return after, (Abandon(machine.epoch), *actions)
    if isinstance(event, Connected):
        after = enter(
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
    after = replace(note_failure(machine, event.failure, 0, now), homing=None)
    if not is_up:
        return after, ()
    after = replace(after, failure=None)
    if 0 in after.barred:
        return after, ()
    at = max(now + machine.reconnect.max, after.rested(0))
    return replace(after, retry_at=at), (StartTimer(machine.epoch, at),)
