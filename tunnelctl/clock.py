"""The only module that reads a clock. Everything else takes time as an argument or asks here.

`monotonic` is for deadlines and ages; `wall` is for what people read; `boottime` tells that the
machine was asleep. None is ever mixed with another but for that.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

# Seconds on a clock that never jumps; it says nothing of the time of day. The function itself, not
# one around it: every read of a link is timed.
monotonic: Final = time.monotonic


def boottime() -> float:
    """Seconds on a clock that never jumps and goes on while the machine sleeps.

    Linux stops `monotonic` then, and has CLOCK_BOOTTIME (clock_gettime(2)); on macOS it is
    CLOCK_MONOTONIC that goes on.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def wall() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """A time of day as status and logs print it, e.g. `2026-11-22T21:30:00.123Z` (RFC 3339)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
