"""Changes of state that several decisions share.

Owns the steps that belong to a change of state whatever its cause: the round of candidates, the
delay after it, and the attempts, links and timers that end with a state. Must never choose by the
kind of an event: `decisions.py` does. All times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunnelctl.errors import Code, Failure
from tunnelctl.state import backoff
from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.host.events import (
    Abandon,
    Action,
    CancelTimer,
    CloseLink,
    Connect,
    DetachForwards,
    Lost,
    StartTimer,
)
from tunnelctl.state.host.facts import Machine, Rest

# The next machine, and the actions to carry out in order.
Step = tuple[Machine, tuple[Action, ...]]


def enter(
    machine: Machine,
    state: HostState,
    now: float,
    *,
    retry_at: float | None = None,
    homing: int | None = None,
    **changes: Any,
) -> Machine:
    """The machine in `state`, with no timer and no homing unless given; `changes` are fields."""
    changes |= {"retry_at": retry_at, "homing": homing}
    return replace(machine, state=state, since=now, waits=None, **changes)


def begin_round(machine: Machine, now: float) -> Step:
    """Begin a round with the first candidate that may be tried. When `give_up_after` has expired,
    that may be one that rests."""
    candidate = machine.first(0, now)
    if candidate is None:
        candidate = machine.left[0]  # a machine without candidates left has failed
    return try_candidate(replace(machine, hurried=False), candidate, now)


def try_candidate(
    machine: Machine, candidate: int, now: float, *, homing: int | None = None
) -> Step:
    """Begin an attempt of this candidate, with a new epoch."""
    epoch = machine.newest + 1
    changes = {"epoch": epoch, "newest": epoch, "candidate": candidate}
    after = enter(machine, HostState.CONNECTING, now, homing=homing, **changes)
    return after, (Connect(epoch, candidate),)


def try_home(machine: Machine) -> Step:
    """Try the host itself beside the fallback."""
    epoch = machine.newest + 1
    return replace(machine, newest=epoch, homing=epoch, retry_at=None), (Connect(epoch, 0),)


def try_home_now(machine: Machine, now: float) -> Step:
    """A fallback serves, and the host itself is due to be tried later: try it now, if allowed."""
    if machine.retry_at is None or now < machine.rested(0):
        return machine, ()
    after, actions = try_home(machine)
    return after, (CancelTimer(), *actions)


def note_failure(machine: Machine, failure: Failure, candidate: int, now: float) -> Machine:
    """The machine that knows how this candidate failed."""
    rests = machine.rests_of_others(candidate)
    if failure.retry_after > 0:
        # A server that asks for a pause penalizes clients that come back sooner.
        rests += (Rest(candidate, now + failure.retry_after, asked=not failure.spaced),)
    return replace(
        machine,
        failure=failure,
        passed_over=failure if candidate == 0 else machine.passed_over,
        barred=machine.barred if failure.retryable else machine.barred | {candidate},
        rests=rests,
    )


def end_round(machine: Machine, event: Lost, now: float) -> Step:
    """No candidate can be connected now: wait, or fail permanently."""
    assert machine.failure is not None
    left = machine.left
    if not left or _gives_up(machine, now):
        # The failure of the host itself says more than that of its last fallback.
        failure = machine.passed_over or machine.failure
        needs_input = failure.code is Code.NEEDS_INPUT
        ended = HostState.NEEDS_INPUT if needs_input else HostState.FAILED
        return enter(machine, ended, now, failure=failure), ()
    delay = backoff.awaited_delay if event.awaited else backoff.delay
    wait = delay(machine.reconnect, machine.attempts - 1, event.jitter)
    due = now if machine.hurried else now + wait
    spaced = {rest.candidate for rest in machine.rests if not rest.asked}
    # The delay after a refused login comes with the refusal.
    waits = (machine.rested(c) if c in spaced else max(due, machine.rested(c)) for c in left)
    at = _not_after_giving_up(machine, max(now, min(waits)))
    return enter(machine, HostState.BACKOFF, now, retry_at=at), (StartTimer(machine.epoch, at),)


def wait_until(machine: Machine, at: float) -> Step:
    """Move the end of the current delay."""
    at = _not_after_giving_up(machine, at)
    return replace(machine, retry_at=at), (CancelTimer(), StartTimer(machine.epoch, at))


def let_go(machine: Machine) -> tuple[Action, ...]:
    """End the timer and the attempt that run beside the state."""
    timer = () if machine.retry_at is None else (CancelTimer(),)
    homing = () if machine.homing is None else (Abandon(machine.homing),)
    return (*timer, *homing)


def go_idle(machine: Machine, now: float) -> Machine:
    """The next link is for a client, and does not replace a lost one."""
    return enter(machine, HostState.IDLE, now, attempts=0, was_up=False)


def leave(machine: Machine) -> tuple[Action, ...]:
    """End what belongs to the state that the machine leaves."""
    match machine.state:
        case HostState.CONNECTING | HostState.AUTHENTICATING:
            return (*let_go(machine), Abandon(machine.epoch))
        case HostState.UP:
            return (*let_go(machine), *drop_link(machine))
        case _:
            return let_go(machine)


def drop_link(machine: Machine) -> tuple[Action, ...]:
    """Close the link; the forwards keep their listeners."""
    return (DetachForwards(), CloseLink(machine.epoch))


def _gives_up(machine: Machine, now: float) -> bool:
    limit = machine.reconnect.give_up_after
    return limit is not None and now >= machine.trouble_since + limit


def _not_after_giving_up(machine: Machine, at: float) -> float:
    """The last attempt comes when `give_up_after` expires, not after a longer delay."""
    limit = machine.reconnect.give_up_after
    return at if limit is None else min(at, machine.trouble_since + limit)
