"""The life of one host: a total table, every state times every event, and nothing else decides.

    idle --Start--> connecting --Authenticating--> authenticating --Connected--> up
                        ^  \\________ Lost _______________|__________________/
                        |               |
                        +--RetryDue-- backoff     or, when it cannot pass by itself,
                        +--Start, Restart-- failed | needs-input
    any --Stop--> stopping --Closed--> stopped

- An attempt and its link share an epoch. An answer of another epoch changes nothing; a link that
  arrives too late is closed.
- A pair that means nothing leaves the machine as it was and is no error: events come from tasks
  that are cancelled while their answer is on its way, so such pairs are everyday, and a daemon
  must not die of one. What still needs an act (a link nobody asked for) gets it.
- A failure that cannot pass by itself is never repeated until the user says so (Start, Restart).
  Any other is repeated for ever, unless the profile sets `give_up_after`.
- Success counts only once it has lasted: the count of attempts and the clock of `give_up_after`
  begin anew only after a link was up for `stable_after`.
- A tunnel lives once: nothing leaves `stopped`, a new `up` makes a new one.

Must never read a clock, draw a random number or touch a socket. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Reconnect
from tunnelctl.state import backoff
from tunnelctl.state.events import (
    Abandon,
    Action,
    AttachForwards,
    Authenticating,
    CancelTimer,
    Closed,
    CloseLink,
    Connect,
    Connected,
    DetachForwards,
    Event,
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
from tunnelctl.state.snapshot import HostState


@dataclass(frozen=True, slots=True)
class Machine:
    """All that the next decision depends on."""

    reconnect: Reconnect = field(default_factory=Reconnect)
    state: HostState = HostState.IDLE
    since: float = 0.0  # when the state was entered
    epoch: int = 0  # of the newest attempt
    attempts: int = 0  # tries in a row that failed or did not last
    trouble_since: float = 0.0  # when those tries began
    was_up: bool = False
    reconnects: int = 0  # times it came up again
    retry_at: float | None = None  # in backoff only
    failure: Failure | None = None  # why it is not up; None when it is


Step = tuple[Machine, tuple[Action, ...]]


def next_state(machine: Machine, event: Event, now: float) -> Step:
    """What the machine becomes, and what is to be done about it, in that order."""
    epoch = getattr(event, "epoch", machine.epoch)
    if epoch != machine.epoch:
        return _refuse_if_link(machine, event)
    return _ROWS[machine.state][_COLUMNS.index(type(event))](machine, event, now)


def _enter(
    machine: Machine, state: HostState, now: float, *, retry_at: float | None = None, **changes: Any
) -> Machine:
    return replace(machine, state=state, since=now, retry_at=retry_at, **changes)


def _ignore(machine: Machine, event: Event, now: float) -> Step:
    return machine, ()


def _refuse(machine: Machine, event: Connected, now: float) -> Step:
    return machine, (CloseLink(event.epoch),)


def _refuse_if_link(machine: Machine, event: Event) -> Step:
    return machine, (CloseLink(event.epoch),) if isinstance(event, Connected) else ()


def _begin(machine: Machine, event: Start | Restart, now: float) -> Step:
    """A try asked for by the user: at once, with everything forgotten that came before."""
    epoch = machine.epoch + 1
    after = _enter(
        machine, HostState.CONNECTING, now, epoch=epoch, attempts=0, trouble_since=now, failure=None
    )
    return after, (*_leave(machine), OpenListeners(), Connect(epoch))


def _reopen(machine: Machine, event: Start, now: float) -> Step:
    """It is started already; listeners that failed need not wait for their next try."""
    return machine, (OpenListeners(),)


def _retry(machine: Machine, event: RetryDue, now: float) -> Step:
    epoch = machine.epoch + 1
    return _enter(machine, HostState.CONNECTING, now, epoch=epoch), (Connect(epoch),)


def _authenticate(machine: Machine, event: Authenticating, now: float) -> Step:
    return _enter(machine, HostState.AUTHENTICATING, now), ()


def _up(machine: Machine, event: Connected, now: float) -> Step:
    after = _enter(
        machine,
        HostState.UP,
        now,
        was_up=True,
        reconnects=machine.reconnects + machine.was_up,
        failure=None,
    )
    return after, (AttachForwards(machine.epoch),)


def _lost(machine: Machine, event: Lost, now: float) -> Step:
    lasted = machine.state is HostState.UP and now - machine.since >= machine.reconnect.stable_after
    machine_after = replace(
        machine,
        attempts=1 if lasted else machine.attempts + 1,
        trouble_since=now if lasted else machine.trouble_since,
        failure=event.failure,
    )
    left = () if machine.state is not HostState.UP else _leave(machine)
    if not event.failure.retryable or _gives_up(machine_after, now):
        needs_input = event.failure.code is Code.NEEDS_INPUT
        ended = HostState.NEEDS_INPUT if needs_input else HostState.FAILED
        return _enter(machine_after, ended, now), left
    wait = backoff.delay(machine.reconnect, machine_after.attempts - 1, event.jitter)
    # A server that asks to be left alone punishes whoever comes back sooner.
    wait = max(wait, event.failure.retry_after)
    at = _not_after_giving_up(machine_after, now + wait)
    after = _enter(machine_after, HostState.BACKOFF, now, retry_at=at)
    return after, (*left, StartTimer(machine.epoch, at))


def _retune(machine: Machine, event: Retune, now: float) -> Step:
    return replace(machine, reconnect=event.reconnect), ()


def _retune_wait(machine: Machine, event: Retune, now: float) -> Step:
    """A wait that began under the old policy ends when the new one would end it at the latest."""
    assert machine.retry_at is not None
    after = replace(machine, reconnect=event.reconnect)
    at = _not_after_giving_up(after, min(machine.retry_at, now + event.reconnect.max))
    return replace(after, retry_at=at), (CancelTimer(), StartTimer(machine.epoch, at))


def _stop(machine: Machine, event: Stop, now: float) -> Step:
    # A link that is up stays so for now: Shutdown drains the connections that it carries.
    left = () if machine.state is HostState.UP else _leave(machine)
    return _enter(machine, HostState.STOPPING, now), (*left, Shutdown())


def _closed(machine: Machine, event: Closed, now: float) -> Step:
    return _enter(machine, HostState.STOPPED, now), ()


def _leave(machine: Machine) -> tuple[Action, ...]:
    """What has to go when the machine leaves its state for another."""
    match machine.state:
        case HostState.CONNECTING | HostState.AUTHENTICATING:
            return (Abandon(machine.epoch),)
        case HostState.UP:
            return (DetachForwards(), CloseLink(machine.epoch))
        case HostState.BACKOFF:
            return (CancelTimer(),)
        case _:
            return ()


def _gives_up(machine: Machine, now: float) -> bool:
    limit = machine.reconnect.give_up_after
    return limit is not None and now >= machine.trouble_since + limit


def _not_after_giving_up(machine: Machine, at: float) -> float:
    """The last try comes when time is up, not after a wait that reaches beyond it."""
    limit = machine.reconnect.give_up_after
    return at if limit is None else min(at, machine.trouble_since + limit)


# Handlers take the event of their own column; a table cannot say so in types.
_Handler = Callable[[Machine, Any, float], Step]

_COLUMNS: tuple[type[Event], ...] = (
    Start, Restart, Stop, Closed, Retune, Authenticating, Connected, Lost, RetryDue,
)  # fmt: skip

_ROWS: dict[HostState, tuple[_Handler, ...]] = {
    #  Start, Restart, Stop, Closed, Retune, Authenticating, Connected, Lost, RetryDue
    HostState.IDLE: (
        _begin, _begin, _stop, _ignore, _retune, _ignore, _refuse, _ignore, _ignore,
    ),
    HostState.CONNECTING: (
        _reopen, _begin, _stop, _ignore, _retune, _authenticate, _up, _lost, _ignore,
    ),
    HostState.AUTHENTICATING: (
        _reopen, _begin, _stop, _ignore, _retune, _ignore, _up, _lost, _ignore,
    ),
    HostState.UP: (
        # A second Connected of this epoch speaks of the link in use: it must not be closed.
        _reopen, _begin, _stop, _ignore, _retune, _ignore, _ignore, _lost, _ignore,
    ),
    HostState.BACKOFF: (
        _reopen, _begin, _stop, _ignore, _retune_wait, _ignore, _refuse, _ignore, _retry,
    ),
    HostState.NEEDS_INPUT: (
        _begin, _begin, _stop, _ignore, _retune, _ignore, _refuse, _ignore, _ignore,
    ),
    HostState.FAILED: (
        _begin, _begin, _stop, _ignore, _retune, _ignore, _refuse, _ignore, _ignore,
    ),
    HostState.STOPPING: (
        _ignore, _ignore, _ignore, _closed, _ignore, _ignore, _refuse, _ignore, _ignore,
    ),
    HostState.STOPPED: (
        _ignore, _ignore, _ignore, _ignore, _ignore, _ignore, _refuse, _ignore, _ignore,
    ),
}  # fmt: skip
