"""How a host gets from one state to another: the parts that the decisions share.

Owns what belongs to a change of state whatever the reason: the round of candidates, the wait after
it, and the attempts, links and timers that end with the state that is left. Must never choose by
the kind of an event: `decisions.py` does. All times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunnelctl.errors import Code, Failure
from tunnelctl.state import backoff
from tunnelctl.state.events import (
    Abandon,
    Action,
    CancelTimer,
    CloseLink,
    Connect,
    DetachForwards,
    Lost,
    StartTimer,
)
from tunnelctl.state.facts import Machine, Rest
from tunnelctl.state.snapshot import HostState

# The machine afterwards, and the actions to carry out in order.
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
    """Begin a round with the first candidate that may be tried. When time is up (`give_up_after`)
    that may be one that rests."""
    candidate = machine.first(0, now)
    if candidate is None:
        candidate = machine.left[0]  # a machine that barred all has failed
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
    """A fallback serves, and the host itself is to be tried again later: now, if it may be."""
    if machine.retry_at is None or now < machine.rested(0):
        return machine, ()
    after, actions = try_home(machine)
    return after, (CancelTimer(), *actions)


def note_failure(machine: Machine, failure: Failure, candidate: int, now: float) -> Machine:
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


def end_round(machine: Machine, event: Lost, now: float) -> Step:
    """Nobody can be had now: wait, or stop for good."""
    assert machine.failure is not None
    left = machine.left
    if not left or _gives_up(machine, now):
        # What the host itself said weighs more than what its last fallback did.
        failure = machine.passed_over or machine.failure
        needs_input = failure.code is Code.NEEDS_INPUT
        ended = HostState.NEEDS_INPUT if needs_input else HostState.FAILED
        return enter(machine, ended, now, failure=failure), ()
    delay = backoff.awaited_delay if event.awaited else backoff.delay
    wait = delay(machine.reconnect, machine.attempts - 1, event.jitter)
    due = now if machine.hurried else now + wait
    spaced = {rest.candidate for rest in machine.rests if not rest.asked}
    # How long a login that was refused is left alone is said with the refusal.
    waits = (machine.rested(c) if c in spaced else max(due, machine.rested(c)) for c in left)
    at = _not_after_giving_up(machine, max(now, min(waits)))
    return enter(machine, HostState.BACKOFF, now, retry_at=at), (StartTimer(machine.epoch, at),)


def wait_until(machine: Machine, at: float) -> Step:
    """Another end for the wait under way."""
    at = _not_after_giving_up(machine, at)
    return replace(machine, retry_at=at), (CancelTimer(), StartTimer(machine.epoch, at))


def let_go(machine: Machine) -> tuple[Action, ...]:
    """End what may be under way beside the state itself."""
    timer = () if machine.retry_at is None else (CancelTimer(),)
    homing = () if machine.homing is None else (Abandon(machine.homing),)
    return (*timer, *homing)


def go_idle(machine: Machine, now: float) -> Machine:
    """The next link will be for a client, and takes the place of none that was lost."""
    return enter(machine, HostState.IDLE, now, attempts=0, was_up=False)


def leave(machine: Machine) -> tuple[Action, ...]:
    """What has to go when the machine leaves its state for another."""
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
    """The last try comes when time is up, not after a wait that reaches beyond it."""
    limit = machine.reconnect.give_up_after
    return at if limit is None else min(at, machine.trouble_since + limit)
