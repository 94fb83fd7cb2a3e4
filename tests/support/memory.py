"""How much memory this process takes, by the kernel's own count."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1024 * 1024


def resident() -> int:
    """Bytes of this process that lie in memory now."""
    return _status("VmRSS")


class Growth:
    """How far the resident memory rose at its highest since `begin`, in bytes."""

    def __init__(self) -> None:
        self._before = 0

    def begin(self) -> None:
        """Count from here."""
        gc.collect()
        # proc(5): 5 sets the peak back to what is resident now.
        Path("/proc/self/clear_refs").write_text("5")
        self._before = resident()

    @property
    def peak(self) -> int:
        """The highest so far."""
        return _status("VmHWM") - self._before


@contextmanager
def bounded_memory(limit: int) -> Iterator[None]:
    """Fails when the resident memory rises by more than `limit` bytes meanwhile."""
    growth = Growth()
    growth.begin()
    yield
    assert growth.peak <= limit, f"memory grew by {growth.peak / MIB:.1f} MiB"


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/self/status has no {field}")
