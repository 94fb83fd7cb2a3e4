"""Detects that a lazy host has no clients any more.

Owns one timer. Must never close anything: it reports once, and the state machine decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from tunnelctl import clock
from tunnelctl.forward.client_connections import Counters

# Looks in one `idle_timeout`, which is how precisely it is kept.
_LOOKS = 10


class IdleWatch:
    """While it runs, calls `on_idle` once no connection was open for `seconds`.

    `counters` returns those of every forward of the host.
    """

    def __init__(
        self,
        seconds: float,
        counters: Callable[[], Iterable[Counters]],
        on_idle: Callable[[], None],
    ) -> None:
        self._seconds = seconds
        self._counters = counters
        self._on_idle = on_idle
        self._timer: asyncio.TimerHandle | None = None
        self._served = 0
        self._used_at = 0.0

    def start(self) -> None:
        """Begin to watch; no effect if it watches already."""
        if self._timer is None:
            self._used_at = clock.monotonic()
            self._wait()

    def stop(self) -> None:
        """Stop watching. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds / _LOOKS, self._look)

    def _look(self) -> None:
        now, counters = clock.monotonic(), tuple(self._counters())
        served = sum(each.total for each in counters)
        if served != self._served or any(each.open for each in counters):
            self._served, self._used_at = served, now
        if now - self._used_at < self._seconds:
            self._wait()
        else:
            self._timer = None
            self._on_idle()
