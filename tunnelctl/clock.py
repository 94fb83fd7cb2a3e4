"""The only module that reads a clock. All others take the time as an argument or call this one.

`monotonic` is for deadlines and ages; `wall` is for display; `boottime` shows that the machine was
asleep; `thread_cpu` and `process_cpu` are for work that limits itself. Times of different clocks
are compared only to find sleep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

# Seconds on a clock that never jumps; unrelated to the time of day. Not wrapped in a function,
# because every read of a link is timed.
monotonic: Final = time.monotonic


def boottime() -> float:
    """Seconds on a clock that never jumps, and continues while the machine sleeps.

    On Linux `monotonic` stops during sleep and CLOCK_BOOTTIME does not (clock_gettime(2)); on macOS
    CLOCK_MONOTONIC continues.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def thread_cpu() -> float:
    """Seconds of CPU that this thread has used."""
    return time.thread_time()


def process_cpu() -> float:
    """Seconds of CPU that this process has used."""
    return time.process_time()


def cpu_clock_of(thread: int) -> Callable[[], float]:
    """A function that returns the seconds of processor time that a running thread of this process
    has used, by its `threading.get_ident`; always 0 on systems that do not tell."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return float
    number = time.pthread_getcpuclockid(thread)
    return lambda: time.clock_gettime(number)


def wall() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """A time of day as in status and logs, e.g. `2026-11-22T21:30:00.123Z` (RFC 3339)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
