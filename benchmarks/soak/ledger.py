"""The counts and the violations of a soak, from many threads.

Must never lose a violation: each one fails the run.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ledger:
    """Counts of the traffic, and everything that must never happen."""

    began: float = field(default_factory=time.monotonic)
    connections: int = 0
    bytes: int = 0  # returned exactly as they were sent
    cut: int = 0  # connections that ended in a reset or a refusal
    wrong: int = 0  # exchanges that returned other bytes than were sent
    violations: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def opened(self) -> None:
        """A client is connected."""
        with self._lock:
            self.connections += 1

    def exchanged(self, size: int) -> None:
        """So many correct bytes were returned."""
        with self._lock:
            self.bytes += size

    def was_cut(self) -> None:
        """A connection ended as a lost one must."""
        with self._lock:
            self.cut += 1

    def foreign(self, way: str, place: str) -> None:
        """Bytes were returned that were never sent."""
        with self._lock:
            self.wrong += 1
        self.violate(f"{way}: other bytes came back than were sent, {place}")

    def violate(self, what: str) -> None:
        """Something happened that must never happen."""
        with self._lock:
            self.violations.append(f"{time.monotonic() - self.began:.1f} s: {what}")
