"""A selector for asyncio and the data path, and the loop that has it.

Owns the sockets that asyncio registers: they are level-triggered, as it expects. Those of the
reactor are edge-triggered, and are handled before `select` returns (`edges.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, TypeVarTuple, Unpack

from tunnelctl.net.edges import Edges, Found

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

Ts = TypeVarTuple("Ts")


class EdgeSelector(selectors.BaseSelector):
    """The selector."""

    def __init__(self) -> None:
        self.edges = Edges()
        self._epoll = self.edges.epoll
        self._keys: dict[int, selectors.SelectorKey] = {}

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
        return self._ready(self.edges.wait(timeout))

    def _ready(self, levels: Found) -> list[tuple[selectors.SelectorKey, int]]:
        found = ((self._keys.get(fd), mask) for fd, mask in levels)
        # No key: an edge of a socket that was closed earlier in the turn.
        return [(key, _events(mask) & key.events) for key, mask in found if key is not None]

    def close(self) -> None:
        """See selectors.BaseSelector."""
        self._epoll.close()
        self._keys.clear()

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        """See selectors.BaseSelector: by descriptor, or by the object that was registered.
        asyncio of Python 3.13 asks it at each change."""
        return _Registered(self)

    def get_key(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """See selectors.BaseSelector."""
        return self._keys[fileobj if isinstance(fileobj, int) else self._fd_of(fileobj)]

    def registered(self) -> list[int]:
        """All registered descriptors."""
        return list(self._keys)

    def descriptors(self) -> list[int]:
        """All registered descriptors, and the epoll's."""
        return [*self._keys, self._epoll.fileno()]

    def _fd_of(self, fileobj: FileDescriptorLike) -> int:
        """The descriptor of a registered object, which may be closed by now."""
        assert not isinstance(fileobj, int)
        with contextlib.suppress(ValueError):  # of a closed file
            if (number := fileobj.fileno()) in self._keys:
                return number
        for fd, key in self._keys.items():
            if key.fileobj is fileobj:
                return fd
        raise KeyError(f"{fileobj!r} is not registered")


class _Registered(Mapping["FileDescriptorLike", selectors.SelectorKey]):
    """The keys of a selector, as they are when they are asked for."""

    def __init__(self, selector: EdgeSelector) -> None:
        self._selector = selector

    def __getitem__(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._selector.get_key(fileobj)

    def __iter__(self) -> Iterator[FileDescriptorLike]:
        return iter(self._selector.registered())

    def __len__(self) -> int:
        return len(self._selector.registered())


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
        self.selector = selector
        self.edges = selector.edges
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


def shared_edges(loop: asyncio.AbstractEventLoop) -> Edges | None:
    """The epoll of a loop that `new_event_loop` made."""
    return loop.edges if isinstance(loop, EdgeLoop) else None


def descriptors_of(loop: asyncio.AbstractEventLoop) -> list[int]:
    """The descriptors of asyncio in such a loop, and its epoll's; of another loop, none."""
    return loop.selector.descriptors() if isinstance(loop, EdgeLoop) else []
