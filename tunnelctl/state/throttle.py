"""How often the same thing is told: a target that refuses thousands of clients is one story.

Must never drop silently: what was held back is counted and told with the next one.
"""

from __future__ import annotations

_BURST = 5
_REFILL_SECONDS = 1.0


class Throttle:
    """Lets five through at once, then one a second."""

    def __init__(self) -> None:
        self._tokens = float(_BURST)
        self._at: float | None = None
        self._held_back = 0

    def ask(self, now: float) -> int | None:
        """None to hold this one back; else how many were held back since the last one."""
        if self._at is not None:
            refilled = self._tokens + (now - self._at) / _REFILL_SECONDS
            self._tokens = min(float(_BURST), refilled)
        self._at = now
        if self._tokens < 1:
            self._held_back += 1
            return None
        self._tokens -= 1
        held_back, self._held_back = self._held_back, 0
        return held_back
