"""The wait of the event loop: one epoll for asyncio and the data path.

Owns the epoll. While only the data path has work, `wait` does not return: a turn of asyncio costs
as much as passing a packet on. Must never mix edge-triggered events with those of asyncio, which
are level-triggered, and never let the data path delay asyncio for long.
"""

from __future__ import annotations

import select
from typing import Final, Protocol

from tunnelctl import clock

if hasattr(select, "epoll"):
    EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

_EVENTS_A_CALL: Final = 512

Found = list[tuple[int, int]]  # file descriptor, epoll's mask


class EdgeWork(Protocol):
    """The reactor, as it is seen from here."""

    is_busy: bool  # whether there is work that needs no event

    def turn(self, found: Found) -> Found:
        """Do the work of a turn with what became ready; return what is not edge-triggered."""


class Edges:
    """The epoll, and what is done with edges."""

    def __init__(self) -> None:
        self.work: EdgeWork | None = None
        self.is_wanted = False  # asyncio got something to do since `wait` was called
        self.epoll = select.epoll()

    def register(self, fd: int) -> None:
        """Report all events of this socket to `work`, edge-triggered."""
        self.epoll.register(fd, EDGES)

    def register_listener(self, fd: int) -> None:
        """Report to `work` that clients wait at this socket, as long as they do."""
        self.epoll.register(fd, select.EPOLLIN)

    def unregister(self, fd: int) -> None:
        """Stop reporting."""
        self.epoll.unregister(fd)

    def wait(self, timeout: float | int | None) -> Found:
        """Wait for so many seconds at most, None without a limit; what became ready for asyncio.
        Edges were handled when this returns."""
        wait = -1.0 if timeout is None else max(float(timeout), 0.0)
        end = 0.0 if timeout is None else clock.monotonic() + wait
        self.is_wanted = False
        work = self.work
        while True:
            busy = work is not None and work.is_busy
            found: Found = self.epoll.poll(0 if busy else wait, _EVENTS_A_CALL)
            levels = work.turn(found) if work is not None else found
            if levels or self.is_wanted:
                return levels
            if timeout is not None:
                wait = end - clock.monotonic()
                if wait <= 0:
                    return []
