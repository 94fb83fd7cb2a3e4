"""The health of a target from its probes, and the time of the next probe. Pure.

Owns `rise` and `fall`: a single result does not change the health unless they are 1. Must never
probe, read a clock or draw a random number.
"""

from __future__ import annotations

from dataclasses import replace

from tunnelctl.errors import Code
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.forward import Probe
from tunnelctl.spec.host import Reconnect
from tunnelctl.state import backoff
from tunnelctl.state.documents.snapshot import Health

# Failures of clients that say something about the target.
OF_TARGETS = (Code.TARGET_REFUSED, Code.TARGET_UNREACHABLE)
# Seconds between probes of a healthy target that the profile does not configure; its first clients
# come first.
_UNASKED_FIRST = 3.0
_RARELY = 60.0
# After a link comes up, its forwards are probed within this time, not all at once.
_FIRST = 0.1
# The part of an interval by which a probe may come earlier, so that many targets are not probed at
# the same time.
_SPREAD = 0.1
# After a reconnect that did not help, the next one waits for at least the longest delay of the
# host, and for up to this many times that. A reconnect also cuts everybody else on the link.
_MOST_PATIENT = 16
# Seconds between looks at the clients of a target that is not probed; a look costs nothing.
LOOK = 3.0
# After so many seconds the result of a client says nothing any more about a target that is not
# probed.
_OLD = 300.0


@dataclass(frozen=True, slots=True)
class ProbeTally:
    """The results of a target over one link."""

    health: Health = Health.UNKNOWN
    answered: bool = False  # the last time
    in_a_row: int = 0  # how often the same result came in a row


def judged(tally: ProbeTally, probe: Probe, *, answered: bool) -> ProbeTally:
    """The tally with one more probe, which succeeded or not.

    `probe.rise` successes in a row make the target healthy, `probe.fall` failures unhealthy.
    """
    in_a_row = tally.in_a_row + 1 if answered is tally.answered else 1
    health = tally.health
    if in_a_row >= (probe.rise if answered else probe.fall):
        health = Health.HEALTHY if answered else Health.UNHEALTHY
    return ProbeTally(health, answered, in_a_row)


def next_wait(tally: ProbeTally, probe: Probe, jitter: float) -> float:
    """Seconds until the next probe. `jitter` is uniform in [0, 1)."""
    if tally.in_a_row == 0:
        return _UNASKED_FIRST if probe.unasked else min(_FIRST, probe.interval) * jitter
    calm = tally.health is Health.HEALTHY and tally.answered
    interval = max(_RARELY, probe.interval) if probe.unasked and calm else probe.interval
    return interval * (1 - _SPREAD * jitter)


def believed(probe: Probe) -> Probe:
    """The probe of a target that is only watched through its clients: one result is enough, because
    the next client may come tomorrow."""
    return replace(probe, rise=1, fall=1)


def is_old(seconds: float) -> bool:
    """Whether the result of a client is too old to say anything about the target."""
    return seconds >= _OLD


@dataclass(frozen=True, slots=True)
class Remedy:
    """How often the host was reconnected for a target that is still not healthy."""

    tries: int = 0
    not_before: float = 0.0  # monotonic seconds


def tried(remedy: Remedy, policy: Reconnect, now: float) -> Remedy:
    """The remedy after one more reconnect at `now`, for a host with that `policy`."""
    patience = Reconnect(min=policy.max, max=_MOST_PATIENT * policy.max)
    wait = backoff.ceiling(patience, remedy.tries)
    return replace(remedy, tries=remedy.tries + 1, not_before=now + wait)
