"""Processor time and memory of processes, as the kernel counts them. Linux only.

Must never ask the processes themselves, because that would be extra work for them.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from pathlib import Path

_CPUCLOCK_SCHED = 2


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes, with all their threads, including ended ones.

    Uses the other process's clock (clock_getcpuclockid(3)): it has nanoseconds, /proc/PID/stat has
    hundredths of a second.

    Raises:
        OSError: one of them is gone.
    """
    return sum(time.clock_gettime((~pid) << 3 | _CPUCLOCK_SCHED) for pid in pids)


def private_memory(pids: Iterable[int]) -> int:
    """Bytes that would be freed if these processes ended (unique set size).

    Shared pages, such as the code of a library, are left out, because another `ssh` does not need
    them again.
    """
    return sum(
        size
        for pid in pids
        for name, size in _fields(Path(f"/proc/{pid}/smaps_rollup")).items()
        if name in ("Private_Clean", "Private_Dirty")
    )


def resident_memory(pids: Iterable[int]) -> int:
    """Bytes of these processes in memory, including shared ones (resident set size)."""
    return sum(_fields(Path(f"/proc/{pid}/smaps_rollup"))["Rss"] for pid in pids)


def allow_open_files() -> int:
    """Raise this process's limit of open files, which children inherit, to the maximum."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def _fields(path: Path) -> dict[str, int]:
    """The lines `Name:  12 kB` of a file, in bytes."""
    fields = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            fields[name] = int(value.removesuffix(" kB")) * 1024
    return fields
