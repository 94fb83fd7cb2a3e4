"""A source of randomness with which a host waits its whole backoff."""

from __future__ import annotations

from random import Random


class Patient(Random):
    """Always waits the whole backoff."""

    def random(self) -> float:
        """Just below 1."""
        return 0.999
