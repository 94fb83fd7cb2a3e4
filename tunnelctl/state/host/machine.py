"""The state machine of one host: which decision an event leads to in each state.

Rule 1: what happens next to a host is decided here and in `decisions.py`, nowhere else. The table
below picks the decision; a decision is a pure function in `decisions.py`.

Rule 2: nothing here reads a clock, draws a random number or touches a socket. Times are monotonic
seconds that come with the call; random numbers come with the event.

How it works
============

A machine is a frozen value (`Machine` in `facts.py`). `next_state` takes the machine, one event
and the time, and returns the next machine and a tuple of actions. The supervisor carries out the
actions in order (dial, close a link, start a timer); what becomes of them comes back as events.

One machine covers five things that go on at the same time:

1. the host, which is in one of the states of `HostState` (`state`)
2. the attempt under way, or the link that it gave (`epoch`)
3. an attempt of the host itself while one of its fallbacks is tried or serves (`homing`)
4. one timer (`retry_at`)
5. what is remembered for later decisions: failures in a row, candidates to leave alone, ...

The state says which of the first four exist:

    state           attempt   link    homing             timer
    idle            -         -       -                  -
    connecting      yes       -       behind a fallback  -
    authenticating  yes       -       behind a fallback  -
    up              -         yes     behind a fallback  where a fallback serves
    backoff         -         -       -                  yes
    needs-input     -         -       -                  -
    failed          -         -       -                  -
    stopping        -         if up   -                  -
    stopped         -         -       -                  -

Events
======

An order comes from the user or from the surroundings and has no epoch: Start, Stop, Hurry, ... An
answer tells what became of an attempt, a link or a timer, and has the epoch of it: Connected,
Lost, RetryDue, ... Every attempt gets a new epoch, so that an answer which comes too late cannot
be taken for one about a newer link. `next_state` chooses by the epoch:

- The epoch of `homing`: `decisions.homing` handles it. It is the one decision outside the table.
- Any other epoch but the current one: the answer is stale and changes nothing. If it brings a
  link, that link is closed.
- The current epoch, or an order: the table decides.

An event that is not in the row of a state is ignored: the machine does not change, and there is no
action. This is not an error: events come from tasks that may be cancelled while their result is on
its way, so such pairs are normal, and a daemon must not end because of one. A row therefore lists
Connected where no link was requested: that link has to be closed.

What the decisions keep to
==========================

- A failure that cannot pass by itself is not repeated until the user asks for it (Start, Restart).
  Any other is repeated until it passes, unless the profile sets `give_up_after`.
- A link counts as a success only after it was up for `stable_after`: the count of attempts and the
  clock of `give_up_after` start again then, and not before.
- With fallbacks, one attempt is a round: the host itself, then each fallback at once, and then the
  wait. While a fallback serves, the host itself is tried every `reconnect.max` (homing). Its link,
  once there is one, gets the new clients; connections that are open stay where they are. A try of
  the host itself that waits for a silent program goes on beside the fallbacks in the same way.
- With `links`, a host whose link ends stays up where another link to it lives: that one takes the
  forwards over, with a new epoch.
- A lazy host without clients is idle: its listeners are bound, and a client wakes it. So is a host
  whose server ends links that carry nothing, unless a forward listens there.
- While a client waits at a local port, the next try comes 1 to 1.5 s after the last one ended,
  however many failed; sooner where the policy says so, and never before a server's own time or
  that of a refused login.
- Hurry shortens a wait, except one that a server asked for and one after a refused login. The
  latter belongs to one candidate; Remedied or an order of the user ends it. A round that Hurry
  finds under way is followed by no wait.
- A tunnel lives once: no event leaves `stopped`. The next `up` makes a new machine.

`python -m tools.make_states` draws docs/states.md from this table, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.host import decisions as do
from tunnelctl.state.host.events import (
    Authenticating,
    ClientWaits,
    Closed,
    Connected,
    Event,
    Hurry,
    Idle,
    Lost,
    Remedied,
    Replaced,
    Restart,
    RetryDue,
    Retune,
    Silent,
    Start,
    Stop,
    Unused,
    Wake,
)
from tunnelctl.state.host.facts import Machine
from tunnelctl.state.host.transitions import Step

__all__ = ["EVENTS", "TABLE", "Machine", "Step", "next_state"]


def next_state(machine: Machine, event: Event, now: float) -> Step:
    """The machine after `event` at `now`, and the actions to carry out in order."""
    epoch = getattr(event, "epoch", machine.epoch)
    if epoch == machine.homing:
        return do.homing(machine, event, now)
    if epoch != machine.epoch:
        return do.refuse_if_link(machine, event)
    decide = TABLE[machine.state].get(type(event), do.ignore)
    return decide(machine, event, now)


EVENTS: tuple[type[Event], ...] = get_args(Event)

# A decision takes the event that it is listed under; the type of a table cannot express that.
_Decision = Callable[[Machine, Any, float], Step]

TABLE: Mapping[HostState, Mapping[type[Event], _Decision]] = {
    HostState.IDLE: {
        Start: do.begin_unless_lazy,
        Restart: do.begin_unless_lazy,
        Stop: do.stop,
        Retune: do.retune,
        Remedied: do.forgive,
        Wake: do.wake,
        Connected: do.refuse,
    },
    HostState.CONNECTING: {
        Start: do.reopen,
        Restart: do.begin,
        Stop: do.stop,
        Retune: do.retune,
        Hurry: do.hurry_round,
        Idle: do.rest,
        Authenticating: do.authenticate,
        Connected: do.up,
        Lost: do.lost_attempt,
        Silent: do.silent,
    },
    HostState.AUTHENTICATING: {
        Start: do.reopen,
        Restart: do.begin,
        Stop: do.stop,
        Retune: do.retune,
        Hurry: do.hurry_round,
        Idle: do.rest,
        Connected: do.up,
        Lost: do.lost_attempt,
        Silent: do.login_waits,
    },
    # Without Connected: with this epoch it is about the link in use, which must not be closed.
    HostState.UP: {
        Start: do.reopen_up,
        Restart: do.begin,
        Stop: do.stop,
        Retune: do.retune_wait,
        Hurry: do.hurry_up,
        Remedied: do.remedy_up,
        Idle: do.rest,
        Lost: do.lost_link,
        Replaced: do.promote,
        Unused: do.unused,
        RetryDue: do.go_home,
    },
    HostState.BACKOFF: {
        Start: do.reopen_waiting,
        Restart: do.begin,
        Stop: do.stop,
        Retune: do.retune_wait,
        Hurry: do.hurry_retry,
        Remedied: do.remedy,
        ClientWaits: do.hasten,
        Idle: do.rest,
        Connected: do.refuse,
        RetryDue: do.retry,
    },
    HostState.NEEDS_INPUT: {
        Start: do.begin,
        Restart: do.begin,
        Stop: do.stop,
        Retune: do.retune,
        Remedied: do.begin,
        Connected: do.refuse,
    },
    HostState.FAILED: {
        Start: do.begin,
        Restart: do.begin,
        Stop: do.stop,
        Retune: do.retune,
        Connected: do.refuse,
    },
    HostState.STOPPING: {
        Closed: do.closed,
        Connected: do.refuse,
    },
    HostState.STOPPED: {
        Connected: do.refuse,
    },
}
