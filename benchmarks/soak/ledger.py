"""What the soak counts and what it finds wrong, from many threads.

Must never forget a violation: each one fails the run.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ledger:
    """Counts of the traffic, and everything that must not have happened."""

    began: float = field(default_factory=time.monotonic)
    connections: int = 0
    bytes: int = 0  # that came back, each of them as it was sent
    cut: int = 0  # connections that ended in a reset or a refusal
    wrong: int = 0  # exchanges in which another byte came back than was sent
    violations: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def opened(self) -> None:
        """A client is connected."""
        with self._lock:
            self.connections += 1

    def exchanged(self, size: int) -> None:
        """So many right bytes came back."""
        with self._lock:
            self.bytes += size

    def was_cut(self) -> None:
        """A connection ended as a lost one has to."""
        with self._lock:
            self.cut += 1

    def foreign(self, way: str, place: str) -> None:
        """Bytes came back that were never sent."""
        with self._lock:
            self.wrong += 1
        self.violate(f"{way}: other bytes came back than were sent, {place}")

    def violate(self, what: str) -> None:
        """Something happened that never may."""
        with self._lock:
            self.violations.append(f"{time.monotonic() - self.began:.1f} s: {what}")
