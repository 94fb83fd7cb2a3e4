"""How often the same thing is told: a target that refuses thousands of clients is one story.

Must never drop silently: what was held back is counted and told with the next one.
"""

from __future__ import annotations


class Throttle:
    """Lets so many through at once, then one whenever `seconds` have passed."""

    def __init__(self, at_once: int = 5, seconds: float = 1.0) -> None:
        self._at_once = float(at_once)
        self._seconds = seconds
        self._tokens = self._at_once
        self._at: float | None = None
        self._held_back = 0

    def ask(self, now: float) -> int | None:
        """None to hold this one back; else how many were held back since the last one."""
        if self._at is not None:
            refilled = self._tokens + (now - self._at) / self._seconds
            self._tokens = min(self._at_once, refilled)
        self._at = now
        if self._tokens < 1:
            self._held_back += 1
            return None
        self._tokens -= 1
        held_back, self._held_back = self._held_back, 0
        return held_back


class LogThrottle:
    """What the log has of a story that events tell as long as it goes on: its first lines, then one
    a minute. A log of limited size would have nothing else by morning."""

    AT_ONCE = 100
    SECONDS = 60.0

    def __init__(self) -> None:
        self._throttle = Throttle(self.AT_ONCE, self.SECONDS)

    def remark(self, what: str, now: float) -> str | None:
        """What the log adds, `what` being many of what is told; None where it has enough of it."""
        held_back = self._throttle.ask(now)
        if held_back is None:
            return None
        return f"; the log has not {held_back} {what} before it" if held_back else ""
