"""Readiness of sockets for the data path: edge-triggered epoll, under the asyncio loop.

On a loop of `selector.new_event_loop` both share one epoll; on any other loop an epoll of our own
is nested in it. Owns the order of work in a turn: what became ready, then what asked to go on, then
the flush of everything that was written meanwhile, so that the small messages of one turn leave
in one send. Where there is no epoll, the same handlers sit on `loop.add_reader`/`add_writer`.
Must never block, and never let one handler's error stop the others.

Edge-triggered means: a handler is told once, and must go on until the socket gives no more, or
remember that it stopped. After "no more" it calls `expect_readable`/`expect_writable`.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Protocol

from tunnelctl.net.buffers import Buffers
from tunnelctl.net.selector import EDGES, EdgeSelector, OnEdges, shared_selector

READABLE = 1
WRITABLE = 2
# The peer sent FIN (it may have been preceded by data): a short read does not mean drained.
HANGUP = 4
FAILED = 8

_EVENTS_A_TURN = 512


class Handler(Protocol):
    """An owner of a socket."""

    def ready(self, events: int) -> None:
        """The socket became READABLE, WRITABLE, saw HANGUP or FAILED."""


class Reactor:
    """One for a loop; used from that loop's thread alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, use_epoll: bool | None = None) -> None:
        self.loop = loop
        self.buffers = Buffers()
        self._handlers: dict[int, Handler] = {}
        self._again: list[Callable[[], None]] = []
        self._flushes: list[Callable[[], None]] = []
        self._scheduled: asyncio.Handle | None = None
        self._in_turn = False
        self._poll: _SharedEpoll | _Epoll | _LoopPoll
        shared = shared_selector(loop)
        if shared is not None and use_epoll is not False:
            self._poll = _SharedEpoll(shared, self._handle)
        elif use_epoll if use_epoll is not None else hasattr(select, "epoll"):
            self._poll = _Epoll(loop, self._turn)
        else:
            self._poll = _LoopPoll(loop, self._one)

    def register(self, fd: int, handler: Handler) -> None:
        """Tell `handler` of what happens to `fd`, from now on."""
        self._handlers[fd] = handler
        self._poll.register(fd)

    def unregister(self, fd: int) -> None:
        """Tell nobody any more. Before the socket is closed, for its number is used again."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def expect_readable(self, fd: int) -> None:
        """The socket gave no more: tell again when it does."""
        self._poll.expect_readable(fd)

    def expect_writable(self, fd: int) -> None:
        """The socket took no more: tell again when it does."""
        self._poll.expect_writable(fd)

    def soon(self, callback: Callable[[], None]) -> None:
        """Go on with `callback` in the next turn: for work that gave way to others."""
        self._again.append(callback)
        self._schedule()

    def at_end_of_turn(self, flush: Callable[[], None]) -> None:
        """Call `flush` once everything of this turn was handled."""
        self._flushes.append(flush)
        self._schedule()

    def close(self) -> None:
        """Let go of the epoll. Registered sockets stay their owners' to close."""
        self._unschedule()
        self._handlers.clear()
        self._poll.close()

    def _schedule(self) -> None:
        if not self._in_turn and self._scheduled is None:
            self._scheduled = self.loop.call_soon(self._turn)

    def _unschedule(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None

    def _one(self, fd: int, events: int) -> None:
        """What _LoopPoll reports: a turn with one event."""
        self._in_turn = True
        self._dispatch(fd, events)
        self._finish()

    def _turn(self) -> None:
        self._handle(self._poll.ready())

    def _handle(self, ready: list[tuple[int, int]]) -> None:
        """One turn, with what epoll reported."""
        self._unschedule()
        self._in_turn = True
        for fd, mask in ready:
            self._dispatch(fd, _TRANSLATED[mask & _KNOWN])
        again, self._again = self._again, []
        for callback in again:
            self._guard(callback)
        self._finish()

    def _finish(self) -> None:
        while self._flushes:
            flushes, self._flushes = self._flushes, []
            for flush in flushes:
                self._guard(flush)
        self._in_turn = False
        if self._again:
            self._schedule()

    def _dispatch(self, fd: int, events: int) -> None:
        # A socket closed earlier in this turn has no handler; one opened meanwhile under the
        # same number is told too early at worst, which every handler must bear.
        handler = self._handlers.get(fd)
        if handler is None:
            return
        try:
            handler.ready(events)
        except Exception as error:
            self._report(error, handler)

    def _guard(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:
            self._report(error, callback)

    def _report(self, error: Exception, source: object) -> None:
        self.loop.call_exception_handler(
            {"message": f"error in {source!r}", "exception": error},
        )


class _SharedEpoll:
    """The epoll of the loop itself: its selector reports edges before asyncio's own events."""

    def __init__(self, selector: EdgeSelector, handle: OnEdges) -> None:
        self._selector = selector
        selector.on_edges = handle

    def register(self, fd: int) -> None:
        self._selector.register_edges(fd)

    def unregister(self, fd: int) -> None:
        self._selector.unregister_edges(fd)

    def expect_readable(self, fd: int) -> None:
        """The edge comes by itself."""

    def expect_writable(self, fd: int) -> None:
        """The edge comes by itself."""

    def ready(self) -> list[tuple[int, int]]:
        return []

    def close(self) -> None:
        self._selector.on_edges = None


class _Epoll:
    """Edge-triggered, each socket registered once for everything."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Callable[[], None]) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        loop.add_reader(self._epoll.fileno(), turn)

    def register(self, fd: int) -> None:
        self._epoll.register(fd, EDGES)

    def unregister(self, fd: int) -> None:
        self._epoll.unregister(fd)

    def expect_readable(self, fd: int) -> None:
        """The edge comes by itself."""

    def expect_writable(self, fd: int) -> None:
        """The edge comes by itself."""

    def ready(self) -> list[tuple[int, int]]:
        return self._epoll.poll(0, _EVENTS_A_TURN)

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()


def _translate(mask: int) -> int:
    events = 0
    if mask & select.EPOLLIN:
        events |= READABLE
    if mask & select.EPOLLOUT:
        events |= WRITABLE
    if mask & (select.EPOLLRDHUP | select.EPOLLHUP):
        events |= READABLE | HANGUP
    if mask & select.EPOLLERR:
        events |= READABLE | FAILED
    return events


if hasattr(select, "epoll"):
    _KNOWN = (
        select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
    )
    _TRANSLATED = {mask: _translate(mask) for mask in range(_KNOWN + 1) if mask & _KNOWN == mask}


class _LoopPoll:
    """The same promise on a level-triggered loop: listen for what was asked for, once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, one: Callable[[int, int], None]) -> None:
        self._loop = loop
        self._one = one

    def register(self, fd: int) -> None:
        self.expect_readable(fd)
        self.expect_writable(fd)

    def unregister(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)

    def expect_readable(self, fd: int) -> None:
        self._loop.add_reader(fd, self._readable, fd)

    def expect_writable(self, fd: int) -> None:
        self._loop.add_writer(fd, self._writable, fd)

    def _readable(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        # Without read-hangup events nothing says that a FIN waits behind a short read.
        self._one(fd, READABLE | HANGUP)

    def _writable(self, fd: int) -> None:
        self._loop.remove_writer(fd)
        self._one(fd, WRITABLE)

    def ready(self) -> list[tuple[int, int]]:
        return []

    def close(self) -> None:
        """Nothing is held."""
