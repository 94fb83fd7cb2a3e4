"""SO_RCVLOWAT of a TCP socket (socket(7)) on Linux: how many bytes wake its reader.

Owns two uses of it. While bytes come so fast that looking at each packet is a waste, the kernel
wakes us only once a good part of a read is there: a quarter less CPU for a download. And it is the
only way to a larger receive buffer that keeps the kernel's automatic tuning. Must never delay bytes
for longer than two ticks: then the rest is read, and the socket is reset to normal. The end of a
stream and a reset are always reported at once.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Final

GATHERED: Final = (
    256 * 1024
)  # bytes for a wake-up; half of it saves half as much, twice as much saves no time
TICK: Final = 0.002  # seconds
# Fast means so many bytes within so many seconds, 200 MB/s: then GATHERED come well within a tick,
# and a tick or two at the end matter little compared to what went before.
_ENOUGH = 8 * 1024 * 1024
_WITHIN = 0.04
_ROOM: Final = 1024 * 1024
_IS_SUPPORTED: Final = sys.platform == "linux"


def widen(sock: socket.socket) -> None:
    """Make room for 1 MiB, or more if the kernel decides so.

    Among many uploads at once, one whose first bytes came in small pieces would otherwise stay with
    the initial 128 KiB, and get less than half of what the others get.
    """
    if _IS_SUPPORTED:
        _wake_at(sock, _ROOM // 2)  # the kernel reserves twice as much
        _wake_at(sock, 1)


def _wake_at(sock: socket.socket, count: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


class Gathering:
    """For one socket; used from the loop's thread only.

    `overdue()` is called when bytes may have come without an edge.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, overdue: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._overdue = overdue
        self._came = 0  # bytes in all
        self._came_by_tick = 0
        self._marked_at = float("-inf")
        self._next_mark = _ENOUGH if _IS_SUPPORTED else sys.maxsize
        self._timer: asyncio.TimerHandle | None = None

    def received(self, count: int, now: float) -> None:
        """Note one read of so many bytes, at a time of `clock.monotonic`."""
        self._came += count
        if self._came < self._next_mark:
            return
        if self._timer is None and now - self._marked_at <= _WITHIN:
            _wake_at(self._sock, GATHERED)
            self._arm()
        self._next_mark = self._came + _ENOUGH
        self._marked_at = now

    def close(self) -> None:
        """Stop. Before the socket is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._came_by_tick = self._came
        self._timer = self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        if self._came != self._came_by_tick:
            self._arm()
            return
        self._timer = None
        _wake_at(self._sock, 1)
        self._overdue()
