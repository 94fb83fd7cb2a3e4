"""The life of one host: a total table, every state times every event, and nothing else decides.

docs/states.md shows it as a diagram, drawn from the table below.

- An attempt and its link share an epoch. An answer of another epoch changes nothing; a link that
  arrives too late is closed.
- A pair that means nothing leaves the machine as it was and is no error: events come from tasks
  that are cancelled while their answer is on its way, so such pairs are everyday, and a daemon
  must not die of one. What still needs an act (a link nobody asked for) gets it.
- A failure that cannot pass by itself is never repeated until the user says so (Start, Restart).
  Any other is repeated for ever, unless the profile sets `give_up_after`.
- Success counts only once it has lasted: the count of attempts and the clock of `give_up_after`
  begin anew only after a link was up for `stable_after`.
- With fallbacks, one attempt is a round: the host itself, then each fallback at once, and only
  then a wait. While a fallback serves, the host itself is tried again every `reconnect.max`
  (homing); new clients move to its link when there is one, and nobody else is disturbed. A try of
  the host itself that waits for a silent program goes on in the same way, beside the fallbacks.
- A lazy host that nobody uses is idle: its listeners are bound, and a client wakes it. So is any
  whose server ends links that carry nothing, unless a forward listens there: that is no failure.
- Hurry makes a wait shorter, but not one that a server asked for, nor one after a refused login.
  That one ends by Remedied too, and by the user's word; it is its candidate's alone. A round that
  Hurry finds under way has no wait after it.
- A tunnel lives once: nothing leaves `stopped`, a new `up` makes a new one.

Must never read a clock, draw a random number or touch a socket. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunnelctl.state import decisions as do
from tunnelctl.state.decisions import Step
from tunnelctl.state.events import (
    Authenticating,
    Closed,
    Connected,
    Event,
    Hurry,
    Idle,
    Lost,
    Remedied,
    Restart,
    RetryDue,
    Retune,
    Silent,
    Start,
    Stop,
    Unused,
    Wake,
)
from tunnelctl.state.facts import Machine
from tunnelctl.state.snapshot import HostState

__all__ = ["COLUMNS", "ROWS", "Machine", "Step", "next_state"]


def next_state(machine: Machine, event: Event, now: float) -> Step:
    """What the machine becomes, and what is to be done about it, in that order."""
    epoch = getattr(event, "epoch", machine.epoch)
    if epoch == machine.homing:
        return do.homing(machine, event, now)
    if epoch != machine.epoch:
        return do.refuse_if_link(machine, event)
    return ROWS[machine.state][COLUMNS.index(type(event))](machine, event, now)


# Handlers take the event of their own column; a table cannot say so in types.
_Handler = Callable[[Machine, Any, float], Step]

COLUMNS: tuple[type[Event], ...] = (
    Start, Restart, Stop, Closed, Retune, Hurry, Remedied, Wake, Idle,
    Authenticating, Connected, Lost, Unused, RetryDue, Silent,
)  # fmt: skip

ROWS: dict[HostState, tuple[_Handler, ...]] = {
    #  Start, Restart, Stop, Closed, Retune, Hurry, Remedied, Wake, Idle,
    #  Authenticating, Connected, Lost, Unused, RetryDue, Silent
    HostState.IDLE: (
        do.begin_unless_lazy, do.begin_unless_lazy, do.stop, do.ignore,
        do.retune, do.ignore, do.forgive, do.wake, do.ignore,
        do.ignore, do.refuse, do.ignore, do.ignore, do.ignore, do.ignore,
    ),
    HostState.CONNECTING: (
        do.reopen, do.begin, do.stop, do.ignore,
        do.retune, do.hurry_round, do.ignore, do.ignore, do.rest,
        do.authenticate, do.up, do.lost_attempt, do.ignore, do.ignore, do.silent,
    ),
    HostState.AUTHENTICATING: (
        do.reopen, do.begin, do.stop, do.ignore,
        do.retune, do.hurry_round, do.ignore, do.ignore, do.rest,
        do.ignore, do.up, do.lost_attempt, do.ignore, do.ignore, do.ignore,
    ),
    HostState.UP: (
        # A second Connected of this epoch speaks of the link in use: it must not be closed.
        do.reopen_up, do.begin, do.stop, do.ignore,
        do.retune_wait, do.hurry_up, do.remedy_up, do.ignore, do.rest,
        do.ignore, do.ignore, do.lost_link, do.unused, do.go_home, do.ignore,
    ),
    HostState.BACKOFF: (
        do.reopen_waiting, do.begin, do.stop, do.ignore,
        do.retune_wait, do.hurry_retry, do.remedy, do.ignore, do.rest,
        do.ignore, do.refuse, do.ignore, do.ignore, do.retry, do.ignore,
    ),
    HostState.NEEDS_INPUT: (
        do.begin, do.begin, do.stop, do.ignore,
        do.retune, do.ignore, do.begin, do.ignore, do.ignore,
        do.ignore, do.refuse, do.ignore, do.ignore, do.ignore, do.ignore,
    ),
    HostState.FAILED: (
        do.begin, do.begin, do.stop, do.ignore,
        do.retune, do.ignore, do.ignore, do.ignore, do.ignore,
        do.ignore, do.refuse, do.ignore, do.ignore, do.ignore, do.ignore,
    ),
    HostState.STOPPING: (
        do.ignore, do.ignore, do.ignore, do.closed,
        do.ignore, do.ignore, do.ignore, do.ignore, do.ignore,
        do.ignore, do.refuse, do.ignore, do.ignore, do.ignore, do.ignore,
    ),
    HostState.STOPPED: (
        do.ignore, do.ignore, do.ignore, do.ignore,
        do.ignore, do.ignore, do.ignore, do.ignore, do.ignore,
        do.ignore, do.refuse, do.ignore, do.ignore, do.ignore, do.ignore,
    ),
}  # fmt: skip
