"""How long to wait before the next try, as data: full jitter, doubled each time, with a cap.

Must never draw randomness or read a clock: the caller hands both in.
"""

from __future__ import annotations

import math

from tunnelctl.spec.host import Reconnect


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
