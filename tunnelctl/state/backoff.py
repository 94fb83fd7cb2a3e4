"""The delay before the next attempt: full jitter, doubled each time, with an upper bound.

While a client waits at a held port, the delay is short, whatever the number of failures. After a
refused login there are few attempts, far apart, because servers ban clients that fail often.

Must never draw random numbers or read a clock: the caller passes both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunnelctl.spec.host import Reconnect

# Seconds after each refused login in a row; the last value applies to all further ones. fail2ban
# bans after 5 failures in 10 minutes (jail.conf); PerSourcePenalties of sshd_config(5) adds 5 s for
# each failure, and refuses connections from 15 s on.
SPACING = (5.0, 15.0, 60.0, 300.0)
_SPREAD = 0.1
# Seconds between the end of one attempt and the next while a client waits. At most one a second.
AWAITED_MIN = 1.0
AWAITED_MAX = 1.5


def ceiling(reconnect: Reconnect, attempt: int) -> float:
    """Upper bound in seconds of the delay after failure number `attempt` (0: the first).

    `reconnect.min` doubled `attempt` times, at most `reconnect.max`.
    """
    if reconnect.min >= reconnect.max or reconnect.min <= 0:
        return reconnect.max
    # The doublings are capped before the power is computed: a host may fail for weeks, and
    # 2**attempt exceeds the range of a float after a thousand attempts.
    doublings_to_cap = math.ceil(math.log2(reconnect.max) - math.log2(reconnect.min))
    return min(reconnect.max, math.ldexp(reconnect.min, min(attempt, doublings_to_cap)))


def delay(reconnect: Reconnect, attempt: int, jitter: float) -> float:
    """Seconds to wait after failure number `attempt` (0: the first).

    Full jitter: `jitter`, uniform in [0, 1), times the upper bound. Clients that lost a server at
    the same time then come back at different times.
    """
    return ceiling(reconnect, attempt) * jitter


def awaited_delay(reconnect: Reconnect, attempt: int, jitter: float) -> float:
    """As `delay`, while a client waits: between `AWAITED_MIN` and `AWAITED_MAX`, or less if the
    policy has shorter delays."""
    longest = min(AWAITED_MAX, ceiling(reconnect, attempt))
    if longest <= AWAITED_MIN:
        return longest * jitter
    return AWAITED_MIN + (longest - AWAITED_MIN) * jitter


def spacing(refusals: int, jitter: float, steps: Sequence[float] = SPACING) -> float:
    """Seconds until the next login after refused login number `refusals` (1: the first).

    `jitter` in [0, 1) adds up to a tenth, so that machines that were refused at the same time do
    not come back at the same time.
    """
    return steps[min(refusals, len(steps)) - 1] * (1 + _SPREAD * jitter)
