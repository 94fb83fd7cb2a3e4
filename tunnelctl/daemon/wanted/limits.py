"""The time limits of holders (`expose --ttl`), on a clock that continues during suspend.

Owns the timers. They run in the daemon and not in the command, which could be stopped by Ctrl-Z.
Must never end a hold early, nor later than `_LOOK_EVERY` after a resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.state.holders import Holder

_LOOK_EVERY = 30.0  # seconds: the loop's own timers stand still while the machine sleeps


class Limits:
    """`on_end` is called with a profile and a holder whose time is over."""

    def __init__(self, on_end: Callable[[str, Holder], None]) -> None:
        self._on_end = on_end
        self._ends: dict[tuple[str, Holder], float] = {}  # on the clock `boottime`
        self._timer: asyncio.TimerHandle | None = None

    def set(self, profile: str, holder: Holder, seconds: float | None) -> None:
        """Limit the hold to so many seconds from now; None: no limit."""
        self._ends.pop((profile, holder), None)
        if seconds is not None:
            self._ends[profile, holder] = clock.boottime() + seconds
        self._wait()

    def left(self, profile: str, holder: Holder) -> float | None:
        """Seconds left; None if there is no limit."""
        end = self._ends.get((profile, holder))
        return None if end is None else max(0.0, end - clock.boottime())

    def close(self) -> None:
        """Remove all limits."""
        self._ends.clear()
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ends:
            left = max(0.0, min(self._ends.values()) - clock.boottime())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(left, _LOOK_EVERY), self._look)

    def _look(self) -> None:
        now = clock.boottime()
        over = [key for key, end in self._ends.items() if end <= now]
        for key in over:
            del self._ends[key]
        self._wait()
        for profile, holder in over:
            self._on_end(profile, holder)
