"""Limits the reports of the same event: a target that refuses thousands of clients is one event.

Must never drop silently: suppressed events are counted and reported with the next one.
"""

from __future__ import annotations


class Throttle:
    """Allows the first few at once, then one every `seconds`."""

    def __init__(self, at_once: int = 5, seconds: float = 1.0) -> None:
        self._at_once = float(at_once)
        self._seconds = seconds
        self._tokens = self._at_once
        self._at: float | None = None
        self._held_back = 0

    def ask(self, now: float) -> int | None:
        """None to suppress this one; else the number that were suppressed since the last one."""
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
    """Limits the log of a repeated event: the first lines, then one a minute. Otherwise it would
    fill a log of limited size overnight."""

    AT_ONCE = 100
    SECONDS = 60.0

    def __init__(self) -> None:
        self._throttle = Throttle(self.AT_ONCE, self.SECONDS)

    def remark(self, what: str, now: float) -> str | None:
        """The remark that the log adds, where `what` names many such events; None to leave this one
        out."""
        held_back = self._throttle.ask(now)
        if held_back is None:
            return None
        return f"; the log has not {held_back} {what} before it" if held_back else ""
