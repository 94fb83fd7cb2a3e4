"""A selector for asyncio and the data path: one epoll, one system call for each wake-up.

Owns the epoll. Sockets that asyncio registers are level-triggered, as it expects; those of the
reactor are edge-triggered and are handled before `select` returns. While only these have work,
`select` does not return: a turn of asyncio costs as much as passing a packet on. Must never mix the
events of the two kinds, and never let the reactor delay asyncio for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Protocol, TypeVarTuple, Unpack

from tunnelctl import clock

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

if hasattr(select, "epoll"):
    EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

_EVENTS_A_CALL = 512

Found = list[tuple[int, int]]  # file descriptor, epoll's mask
Ts = TypeVarTuple("Ts")


class EdgeWork(Protocol):
    """The reactor, as the selector sees it."""

    is_busy: bool  # whether there is work that needs no event

    def turn(self, found: Found) -> Found:
        """Do the work of a turn; `ready` has the events, level-triggered ones included."""


class EdgeSelector(selectors.BaseSelector):
    """The selector."""

    def __init__(self) -> None:
        self.work: EdgeWork | None = None
        self.is_wanted = False  # asyncio got something to do since `select` was called
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register_edges(self, fd: int) -> None:
        """Report all events of this socket to `work`, edge-triggered."""
        self._epoll.register(fd, EDGES)

    def register_listener(self, fd: int) -> None:
        """Report to `work` that clients wait at this socket, as long as they do."""
        self._epoll.register(fd, select.EPOLLIN)

    def unregister_edges(self, fd: int) -> None:
        """Stop reporting."""
        self._epoll.unregister(fd)

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        """See selectors.BaseSelector."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._epoll.register(fd, _mask(events))
        self._keys[fd] = key
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """See selectors.BaseSelector."""
        fd = fileobj if isinstance(fileobj, int) else self._fd_of(fileobj)
        key = self._keys.pop(fd)
        with contextlib.suppress(OSError):  # closed before; epoll has removed it already
            self._epoll.unregister(fd)
        return key

    def modify(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        """See selectors.BaseSelector."""
        fd = fileobj if isinstance(fileobj, int) else self._fd_of(fileobj)
        before = self._keys[fd]
        if events != before.events:
            self._epoll.modify(fd, _mask(events))
        key = self._keys[fd] = selectors.SelectorKey(before.fileobj, fd, events, data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See selectors.BaseSelector. Edges were handled when this returns."""
        wait = -1.0 if timeout is None else max(timeout, 0.0)
        end = None if timeout is None else clock.monotonic() + timeout
        self.is_wanted = False
        work = self.work
        while True:
            busy = work is not None and work.is_busy
            found = self._epoll.poll(0 if busy else wait, _EVENTS_A_CALL)
            levels = work.turn(found) if work is not None else found
            if levels or self.is_wanted:
                return self._ready(levels)
            if end is not None:
                wait = end - clock.monotonic()
                if wait <= 0:
                    return []

    def _ready(self, levels: Found) -> list[tuple[selectors.SelectorKey, int]]:
        found = ((self._keys.get(fd), mask) for fd, mask in levels)
        # No key: an edge of a socket that was closed earlier in the turn.
        return [(key, _events(mask) & key.events) for key, mask in found if key is not None]

    def close(self) -> None:
        """See selectors.BaseSelector."""
        self._epoll.close()
        self._keys.clear()

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        """See selectors.BaseSelector: by file descriptor."""
        return {fd: key for fd, key in self._keys.items()}  # noqa: C416 - retyped, not copied as is

    def get_key(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """See selectors.BaseSelector."""
        return self._keys[fileobj if isinstance(fileobj, int) else self._fd_of(fileobj)]

    def _fd_of(self, fileobj: FileDescriptorLike) -> int:
        """The descriptor of a registered object, which may be closed by now."""
        for fd, key in self._keys.items():
            if key.fileobj is fileobj:
                return fd
        raise KeyError(f"{fileobj!r} is not registered")


def _mask(events: int) -> int:
    mask = 0
    if events & selectors.EVENT_READ:
        mask |= select.EPOLLIN
    if events & selectors.EVENT_WRITE:
        mask |= select.EPOLLOUT
    return mask


def _events(mask: int) -> int:
    """As in selectors.EpollSelector: errors and hang-ups wake readers and writers."""
    events = 0
    if mask & ~select.EPOLLIN:
        events |= selectors.EVENT_WRITE
    if mask & ~select.EPOLLOUT:
        events |= selectors.EVENT_READ
    return events


class EdgeLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, which tells its selector when something is scheduled."""

    def __init__(self, selector: EdgeSelector) -> None:
        self.edges = selector
        super().__init__(selector)

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """See asyncio."""
        self.edges.is_wanted = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See asyncio. `call_later` comes here too."""
        self.edges.is_wanted = True
        return super().call_at(when, callback, *args, context=context)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop whose selector the reactor can share; the usual one without epoll."""
    return EdgeLoop(EdgeSelector()) if hasattr(select, "epoll") else asyncio.new_event_loop()


def shared_selector(loop: asyncio.AbstractEventLoop) -> EdgeSelector | None:
    """The selector of a loop that `new_event_loop` made."""
    return loop.edges if isinstance(loop, EdgeLoop) else None
