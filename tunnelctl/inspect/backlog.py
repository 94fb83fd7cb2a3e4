"""Copied bytes on their way from the loop to the parser's thread.

Owns the limit: what does not fit is refused at once, so the loop never waits. The thread is woken a
moment after the first bytes came, when the loop has passed them on: it would compete with it for
the interpreter.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunnelctl.inspect.tap import Tapped

BYTES_MAX = 16 << 20
_WAKE_AFTER = 0.01  # seconds
_MANY = 1 << 19  # bytes for which the thread is woken at once
_ITEM = 300  # what an item takes besides its bytes


@dataclass(slots=True)
class Copied:
    """Bytes of one direction of a connection: `offset` is the position of the first, `at` when they
    passed (monotonic). `is_eof`: the direction ends here; `is_end`: the connection has ended."""

    tapped: Tapped
    from_client: bool
    offset: int
    data: bytearray
    at: float
    is_eof: bool = False
    is_end: bool = False


class Backlog:
    """`put` is for the loop, `take` and `wait` for the thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bytes_max: int = BYTES_MAX) -> None:
        self._loop = loop
        self._bytes_max = bytes_max
        self._items: deque[Copied] = deque()
        self.put_so_far = 0  # bytes, written by the loop
        self._taken = 0  # and by the thread
        self._is_due = False
        self._woken = threading.Event()

    @property
    def is_empty(self) -> bool:
        """Whether everything that was put is parsed."""
        return self.put_so_far == self._taken

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more can wait."""
        return self.put_so_far - self._taken + size <= self._bytes_max

    def put(self, item: Copied) -> None:
        """Have it parsed; there must be room."""
        self.put_so_far += len(item.data) + _ITEM
        self._items.append(item)
        if self.put_so_far - self._taken > _MANY:
            self.wake()
        elif not self._is_due:
            self._is_due = True
            self._loop.call_later(_WAKE_AFTER, self._ring)

    def _ring(self) -> None:
        self._is_due = False
        self.wake()

    def wake(self) -> None:
        """Have `wait` return."""
        self._woken.set()

    def wait(self) -> None:
        """Wait until there may be something to take."""
        self._woken.wait()
        self._woken.clear()

    def take(self) -> Copied | None:
        """The next item; None if there is none now."""
        try:
            return self._items.popleft()
        except IndexError:
            return None

    def done(self, item: Copied) -> None:
        """An item was parsed: its bytes are overwritten, and there is room for others."""
        size = len(item.data)
        item.data[:] = bytes(size)
        self._taken += size + _ITEM
