"""A selector for asyncio that serves the data path too: one epoll, one system call a wake-up.

Owns the epoll. Sockets that asyncio registers are level-triggered, as it expects; those of the
reactor are edge-triggered and are handed over before `select` returns. Must never let the one
kind see events of the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
import selectors
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

if hasattr(select, "epoll"):
    EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

_EVENTS_A_CALL = 512

# (file descriptor, epoll's mask) of edge-triggered sockets.
OnEdges = Callable[[list[tuple[int, int]]], None]


class EdgeSelector(selectors.BaseSelector):
    """See the module's text."""

    def __init__(self) -> None:
        self.on_edges: OnEdges | None = None
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register_edges(self, fd: int) -> None:
        """Report everything of this socket to `on_edges`, once an edge."""
        self._epoll.register(fd, EDGES)

    def unregister_edges(self, fd: int) -> None:
        """Report it no more."""
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
        with contextlib.suppress(OSError):  # closed before, which epoll takes for the same
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
        # epoll counts milliseconds: rounded up, or a short wait would spin.
        wait = -1.0 if timeout is None else math.ceil(max(timeout, 0.0) * 1e3) * 1e-3
        levels: list[tuple[selectors.SelectorKey, int]] = []
        edges: list[tuple[int, int]] = []
        try:
            found = self._epoll.poll(wait, _EVENTS_A_CALL)
        except InterruptedError:
            return levels
        for item in found:
            key = self._keys.get(item[0])
            if key is None:
                edges.append(item)
            else:
                levels.append((key, _events(item[1]) & key.events))
        if edges and self.on_edges is not None:
            self.on_edges(edges)
        return levels

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
        """The descriptor under which an object was registered; it may be closed by now."""
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
    """As selectors.EpollSelector has it: errors and hang-ups wake readers and writers."""
    events = 0
    if mask & ~select.EPOLLIN:
        events |= selectors.EVENT_WRITE
    if mask & ~select.EPOLLOUT:
        events |= selectors.EVENT_READ
    return events


_selectors: WeakKeyDictionary[asyncio.AbstractEventLoop, EdgeSelector] = WeakKeyDictionary()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop whose selector the reactor can share; the usual one where there is no epoll."""
    if not hasattr(select, "epoll"):
        return asyncio.new_event_loop()
    selector = EdgeSelector()
    loop = asyncio.SelectorEventLoop(selector)
    _selectors[loop] = selector
    return loop


def shared_selector(loop: asyncio.AbstractEventLoop) -> EdgeSelector | None:
    """The selector of a loop that `new_event_loop` made."""
    return _selectors.get(loop)
