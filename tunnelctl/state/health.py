"""From single answers of a target to its health, and when to ask it again: pure.

Owns rise and fall: one lost answer is no illness, and one lucky one no recovery. Must never ask
by itself, read a clock or draw a random number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tunnelctl.errors import Code
from tunnelctl.spec.forward import Probe
from tunnelctl.spec.host import Reconnect
from tunnelctl.state import backoff
from tunnelctl.state.snapshot import Health

# What a client that fails tells of its target.
OF_TARGETS = (Code.TARGET_REFUSED, Code.TARGET_UNREACHABLE)
# A target that nobody told us to watch is left to its first clients for a while, and is asked this
# rarely once it is well. In seconds.
_UNASKED_FIRST = 3.0
_RARELY = 60.0
# After a link came up its forwards are asked within this time, not all in one moment.
_FIRST = 0.1
# Part of an interval by which a question may come earlier, so that many targets are not asked at
# the same moment for ever.
_SPREAD = 0.1
# What a reconnect that did not help is worth: the next one waits for at least the longest backoff
# of the host, and for this many times that in the end. It cuts everybody else on the link, too.
_MOST_PATIENT = 16
# How often the clients of a target that is not asked are looked at, in seconds: it costs nobody
# anything.
LOOK = 3.0
# What a client told of a target that is not asked says nothing of it after so many seconds.
_OLD = 300.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What a target has answered over one link."""

    health: Health = Health.UNKNOWN
    answered: bool = False  # the last time
    in_a_row: int = 0  # how often it did the same as the last time


def judged(tally: Tally, probe: Probe, *, answered: bool) -> Tally:
    """The tally with one more question, which was answered as it should be, or not.

    `probe.rise` good answers in a row make the target healthy, `probe.fall` bad ones unhealthy.
    """
    in_a_row = tally.in_a_row + 1 if answered is tally.answered else 1
    health = tally.health
    if in_a_row >= (probe.rise if answered else probe.fall):
        health = Health.HEALTHY if answered else Health.UNHEALTHY
    return Tally(health, answered, in_a_row)


def next_wait(tally: Tally, probe: Probe, jitter: float) -> float:
    """Seconds until the target is asked again. `jitter` is drawn evenly from [0, 1)."""
    if tally.in_a_row == 0:
        return _UNASKED_FIRST if probe.unasked else min(_FIRST, probe.interval) * jitter
    calm = tally.health is Health.HEALTHY and tally.answered
    interval = max(_RARELY, probe.interval) if probe.unasked and calm else probe.interval
    return interval * (1 - _SPREAD * jitter)


def believed(probe: Probe) -> Probe:
    """The probe of a target that is not asked: there one client that got through, or did not, is
    enough, for the next may come tomorrow."""
    return replace(probe, rise=1, fall=1)


def is_old(seconds: float) -> bool:
    """Whether what a client told so long ago says nothing any more of a target."""
    return seconds >= _OLD


@dataclass(frozen=True, slots=True)
class Remedy:
    """How often the host was connected anew for a target that is still not healthy."""

    tries: int = 0
    not_before: float = 0.0  # monotonic seconds


def tried(remedy: Remedy, policy: Reconnect, now: float) -> Remedy:
    """The remedy after one more reconnect at `now`, of a host with that `policy`."""
    patience = Reconnect(min=policy.max, max=_MOST_PATIENT * policy.max)
    wait = backoff.ceiling(patience, remedy.tries)
    return replace(remedy, tries=remedy.tries + 1, not_before=now + wait)
