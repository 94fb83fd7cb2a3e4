"""SO_RCVLOWAT of a TCP socket (socket(7)), where Linux has it: how many bytes wake its reader.

Owns two uses of it. While bytes come faster than looking at each packet is worth, the kernel wakes
us only once a good part of a read lies there: a quarter less CPU for a download. And it is the one
way to have a larger receive buffer without ending the kernel's own choice of its size.
Must never hold bytes back for longer than two ticks: what has come less than that is read then,
and the socket is as usual again. The end of a stream and a reset are told at once in any case.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Final

GATHERED: Final = (
    256 * 1024
)  # bytes a wake-up; half of it saves half as much, twice as much saves no time
TICK: Final = 0.002  # seconds
# Much is when so many bytes came within so many seconds, 200 MB/s: then GATHERED come well within a
# tick, and what a tick or two cost at the end is little beside what went before.
_ENOUGH = 8 * 1024 * 1024
_WITHIN = 0.04
_ROOM: Final = 1024 * 1024
_IS_SUPPORTED: Final = sys.platform == "linux"


def widen(sock: socket.socket) -> None:
    """Have room for 1 MiB, or for more where the kernel thinks so.

    Of many uploads at once, one whose first bytes came in small pieces would stay with the 128 KiB
    of the start, and get less than half of what the others get.
    """
    if _IS_SUPPORTED:
        _wake_at(sock, _ROOM // 2)  # the kernel has room for twice as much
        _wake_at(sock, 1)


def _wake_at(sock: socket.socket, count: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


class Gathering:
    """For one socket; used from the loop's thread alone.

    `overdue()` is called when bytes may lie there of which no edge will tell.
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
        """Note one read: so many bytes, at a time of `clock.monotonic`."""
        self._came += count
        if self._came < self._next_mark:
            return
        if self._timer is None and now - self._marked_at <= _WITHIN:
            _wake_at(self._sock, GATHERED)
            self._arm()
        self._next_mark = self._came + _ENOUGH
        self._marked_at = now

    def close(self) -> None:
        """Nothing is told any more. Before the socket is closed."""
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
