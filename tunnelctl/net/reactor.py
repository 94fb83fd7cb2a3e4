"""Readiness of sockets for the data path: edge-triggered epoll, below the asyncio loop.

On a loop of `selector.new_event_loop` both share one epoll; on any other loop, an epoll of our own
is nested in it. Owns the order of work in a turn: sockets that became ready, then work that gave
way, then the flush of everything that was written meanwhile, so that the small messages of one turn
leave in one send. Without epoll, the same handlers use `loop.add_reader`/`add_writer`. Must never
block, and never let the error of one handler stop the others.

Edge-triggered means: a handler is called once, and must go on until the socket has no more, or
remember that it stopped. After that it calls `expect_readable`/`expect_writable`. Listening sockets
are level-triggered: their owner is called in every turn in which clients wait.
"""

from __future__ import annotations

import asyncio
import math
import select
from collections.abc import Callable
from typing import Final, Protocol

from tunnelctl import clock
from tunnelctl.net.buffers import Buffers
from tunnelctl.net.edges import EDGES, Edges, EdgeWork, Found
from tunnelctl.net.selector import shared_edges

# The values of epoll.
READABLE: Final = 0x001
WRITABLE: Final = 0x004
FAILED: Final = 0x008
_BOTH_HANGUP: Final = 0x010
_READ_HANGUP: Final = 0x2000
# The peer sent FIN (possibly after data): a short read does not mean that all was read.
HANGUP: Final = _READ_HANGUP | _BOTH_HANGUP
# The other end is gone, unless we ended it ourselves: the peer sent a reset, or closed a unix
# socket. A peer that only sent FIN may wait for its answer.
GONE: Final = FAILED | _BOTH_HANGUP

_EVENTS_A_TURN: Final = 512
# Seconds in one turn for work that gave way; then asyncio and sockets that became ready come first.
_SECONDS_A_TURN: Final = 0.01


class Handler(Protocol):
    """The owner of a socket. A compiled one inherits from this, which makes its call one in C."""

    def ready(self, events: int) -> None:
        """The socket became READABLE, WRITABLE, saw HANGUP or FAILED."""


class Reactor(EdgeWork):
    """One for a loop; used from that loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, use_epoll: bool | None = None) -> None:
        self.loop = loop
        self.buffers = Buffers()
        self.is_busy = False  # see edges.EdgeWork
        self._handlers: dict[int, Handler] = {}
        self._again: list[Callable[[], None]] = []
        self._flushes: list[Callable[[], None]] = []
        self._scheduled: asyncio.Handle | None = None
        self._in_turn = False
        self.turns = 0  # their number
        self._fresh: set[int] = set()  # registered in this turn
        self._until = math.inf
        self._overdue: Callable[[], None] | None = None
        self._poll: _SharedEpoll | _Epoll | _LoopPoll
        shared = shared_edges(loop)
        if shared is not None and use_epoll is not False:
            self._poll = _SharedEpoll(shared, self)
        elif use_epoll if use_epoll is not None else hasattr(select, "epoll"):
            self._poll = _Epoll(loop, self._turn)
        else:
            self._poll = _LoopPoll(loop, self._one)
        self._is_shared = isinstance(self._poll, _SharedEpoll)
        # Whether unread bytes wake nobody.
        self.is_edge_triggered = not isinstance(self._poll, _LoopPoll)

    def register(self, fd: int, handler: Handler) -> None:
        """Call `handler` for the events of `fd` from now on."""
        self._handlers[fd] = handler
        if self._in_turn:
            self._fresh.add(fd)
        self._poll.register(fd)

    def register_listener(self, fd: int, handler: Handler) -> None:
        """Call `handler` whenever clients wait at `fd`, from now on; it need not accept them all.
        After each call it calls `expect_readable`."""
        self._handlers[fd] = handler
        self._poll.register_listener(fd)

    def unregister(self, fd: int) -> None:
        """Call no handler any more. Before the socket is closed, because its number is reused."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def expect_readable(self, fd: int) -> None:
        """The socket of that number has no more: call its handler when it does again."""
        if not self.is_edge_triggered:  # else an edge comes by itself
            self._poll.expect_readable(fd)

    def expect_writable(self, fd: int) -> None:
        """The socket of that number takes no more: call its handler when it does again."""
        if not self.is_edge_triggered:
            self._poll.expect_writable(fd)

    def soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the next turn: for work that gave way to others."""
        self._again.append(callback)
        if not self._in_turn:
            self._schedule()

    def at_end_of_turn(self, flush: Callable[[], None]) -> None:
        """Call `flush` once everything of this turn was handled."""
        self._flushes.append(flush)
        if not self._in_turn:
            self._schedule()

    def limit(self, overdue: Callable[[], None] | None, until: float = math.inf) -> None:
        """Call `overdue` once before any other work of the first turn at or after `until`
        (CLOCK_BOOTTIME), so that a process that was stopped passes nothing on after it; None: there
        is no such time."""
        self._overdue, self._until = overdue, until

    def descriptors(self) -> list[int]:
        """The registered sockets."""
        return list(self._handlers)

    def close(self) -> None:
        """Close the epoll. Registered sockets still belong to their owners."""
        self._unschedule()
        self._again.clear()
        self._flushes.clear()
        self._handlers.clear()
        self._poll.close()

    # The loop's side.

    def turn(self, found: Found) -> Found:
        """See edges.EdgeWork."""
        strangers = []
        handlers = self._handlers
        self.turns += 1
        self._in_turn = True
        if self._overdue is not None and clock.boottime() >= self._until:
            overdue, self._overdue = self._overdue, None
            self._run([overdue])
        for fd, mask in found:
            # A socket that was closed earlier in this turn has no handler. One that was opened
            # meanwhile with the same number is not the one of this event: its own edge comes in the
            # next turn.
            if fd in self._fresh:
                continue
            handler = handlers.get(fd)
            if handler is None:
                strangers.append((fd, mask))
                continue
            try:
                handler.ready(mask)
            except Exception as error:
                self._report(error, handler)
        if self._again:
            self._go_on()
        while self._flushes:
            flushes, self._flushes = self._flushes, []
            self._run(flushes)
        self._in_turn = False
        self._fresh.clear()
        self.is_busy = bool(self._again)
        return strangers

    def _go_on(self) -> None:
        """Run work that gave way, in order, until the time is up; the rest is first in the next
        turn."""
        again, self._again = self._again, []
        end = clock.monotonic() + _SECONDS_A_TURN
        for done, callback in enumerate(again, 1):
            self._run([callback])
            if clock.monotonic() > end:
                self._again[:0] = again[done:]
                return

    def _run(self, callbacks: list[Callable[[], None]]) -> None:
        for callback in callbacks:
            try:
                callback()
            except Exception as error:
                self._report(error, callback)

    def _one(self, fd: int, events: int) -> None:
        """An event of _LoopPoll: a turn with one event."""
        self._unschedule()
        self.turn([(fd, events)])
        if self._again:
            self._schedule()

    def _turn(self) -> None:
        self._unschedule()
        self.turn(self._poll.ready())
        if self._again:
            self._schedule()

    def _schedule(self) -> None:
        """Have a turn soon. A shared selector does so by itself."""
        self.is_busy = True
        if not self._is_shared and self._scheduled is None:
            self._scheduled = self.loop.call_soon(self._turn)

    def _unschedule(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None

    def _report(self, error: Exception, source: object) -> None:
        self.loop.call_exception_handler(
            {"message": f"error in {source!r}", "exception": error},
        )


class _SharedEpoll:
    """The epoll of the loop itself: its selector reports edges before asyncio's own events."""

    def __init__(self, edges: Edges, reactor: Reactor) -> None:
        self._edges = edges
        edges.work = reactor

    def register(self, fd: int) -> None:
        self._edges.register(fd)

    def register_listener(self, fd: int) -> None:
        self._edges.register_listener(fd)

    def unregister(self, fd: int) -> None:
        self._edges.unregister(fd)

    def expect_readable(self, fd: int) -> None:
        """The edge comes by itself."""

    def expect_writable(self, fd: int) -> None:
        """The edge comes by itself."""

    def ready(self) -> list[tuple[int, int]]:
        return []

    def close(self) -> None:
        self._edges.work = None


class _Epoll:
    """Edge-triggered; each socket is registered once for all events."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Callable[[], None]) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        loop.add_reader(self._epoll.fileno(), turn)

    def register(self, fd: int) -> None:
        self._epoll.register(fd, EDGES)

    def register_listener(self, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN)

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


class _LoopPoll:
    """The same on a level-triggered loop: watch once for what was asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, one: Callable[[int, int], None]) -> None:
        self._loop = loop
        self._one = one

    def register(self, fd: int) -> None:
        self.expect_readable(fd)
        self.expect_writable(fd)

    def register_listener(self, fd: int) -> None:
        self.expect_readable(fd)

    def unregister(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)

    def expect_readable(self, fd: int) -> None:
        self._loop.add_reader(fd, self._readable, fd)

    def expect_writable(self, fd: int) -> None:
        self._loop.add_writer(fd, self._writable, fd)

    def _readable(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        # Without read-hangup events, nothing shows that a FIN follows a short read.
        self._one(fd, READABLE | _READ_HANGUP)

    def _writable(self, fd: int) -> None:
        self._loop.remove_writer(fd)
        self._one(fd, WRITABLE)

    def ready(self) -> list[tuple[int, int]]:
        return []

    def close(self) -> None:
        """Nothing is held."""
