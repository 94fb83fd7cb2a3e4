"""How long to wait before the next try, as data: full jitter, doubled each time, with a cap.

While a client waits at a port that is held for it, the wait is short however many tries failed.
After a refused login it is another: few tries, far apart, for servers bar who fails often.

Must never draw randomness or read a clock: the caller hands both in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunnelctl.spec.host import Reconnect

# After each refused login in a row, in seconds; the last one for all that follow. fail2ban bars for
# 5 failures in 10 minutes (jail.conf); PerSourcePenalties of sshd_config(5) adds 5 s for each, and
# bars from 15 s on.
SPACING = (5.0, 15.0, 60.0, 300.0)
_SPREAD = 0.1
# While a client waits: seconds between the end of one try and the next one. At most one a second.
AWAITED_MIN = 1.0
AWAITED_MAX = 1.5


def ceiling(reconnect: Reconnect, attempt: int) -> float:
    """The longest wait in seconds after failure number `attempt` (0: the first).

    `reconnect.min` doubled `attempt` times, at most `reconnect.max`.
    """
    if reconnect.min >= reconnect.max or reconnect.min <= 0:
        return reconnect.max
    # Doublings that reach the cap are not worked out: a host may fail for weeks, and 2**attempt
    # leaves the range of a float after a thousand tries.
    doublings_to_cap = math.ceil(math.log2(reconnect.max) - math.log2(reconnect.min))
    return min(reconnect.max, math.ldexp(reconnect.min, min(attempt, doublings_to_cap)))


def delay(reconnect: Reconnect, attempt: int, jitter: float) -> float:
    """Seconds to wait after failure number `attempt` (0: the first).

    Full jitter: `jitter`, drawn evenly from [0, 1), times the ceiling. Clients that lost one
    server in one moment then come back spread over the whole wait, not in waves.
    """
    return ceiling(reconnect, attempt) * jitter


def awaited_delay(reconnect: Reconnect, attempt: int, jitter: float) -> float:
    """As `delay`, while a client waits: between `AWAITED_MIN` and `AWAITED_MAX`, or less where the
    policy itself waits no longer than that."""
    longest = min(AWAITED_MAX, ceiling(reconnect, attempt))
    if longest <= AWAITED_MIN:
        return longest * jitter
    return AWAITED_MIN + (longest - AWAITED_MIN) * jitter


def spacing(refusals: int, jitter: float, steps: Sequence[float] = SPACING) -> float:
    """Seconds to leave a server alone after refused login number `refusals` (1: the first).

    `jitter` in [0, 1) makes it up to a tenth longer, so that machines which a server refuses in one
    moment do not come back in one.
    """
    return steps[min(refusals, len(steps)) - 1] * (1 + _SPREAD * jitter)
