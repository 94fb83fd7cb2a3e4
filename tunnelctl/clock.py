"""The only module that reads a clock. Everything else takes time as an argument or asks here.

`monotonic` is for deadlines and ages; `wall` is for what people read. Neither is ever mixed.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


def monotonic() -> float:
    """Seconds on a clock that never jumps; it says nothing of the time of day."""
    return time.monotonic()


def wall() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """A time of day as status and logs print it, e.g. `2026-11-22T21:30:00.123Z` (RFC 3339)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
