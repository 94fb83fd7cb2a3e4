"""Copied bytes on their way from the loop to the parser's thread.

Owns the limit: what does not fit is refused at once, so the loop never waits. The thread is woken a
moment after the first bytes came, when the loop has passed them on: it would compete with it for
the interpreter. Must never make an object for each message that passes: the garbage collector would
visit all that wait, and it stops the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tunnelctl.quick_dataclass import dataclass

if TYPE_CHECKING:
    from tunnelctl.inspect.tap import Tapped

BYTES_MAX = 16 << 20
_WAKE_AFTER = 0.01  # seconds
_MANY = 1 << 19  # bytes for which the thread is woken at once
_HURRY = 2 << 20  # bytes for which a pause ends: a long body, which is soon only counted
_NEVER = 1 << 62
_BATCH = 16 << 10  # bytes
_RECORD = 120  # what a record takes: its places in a list, two numbers


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


class Batch:
    """Copies that the parser gets together. The loop adds to it until it is handed over."""

    __slots__ = ("_data", "_records", "_used", "room", "size")

    def __init__(self, length: int) -> None:
        self._data = bytearray(length)
        self._used = 0
        # One after another, for each copy: all of Copied, but the length of its data.
        self._records: list[Any] = []
        self.room = length
        self.size = length  # in memory

    def add(
        self,
        tapped: Tapped,
        from_client: bool,
        offset: int,
        view: memoryview,
        at: float,
        is_eof: bool,
        is_end: bool,
    ) -> None:
        """Copy a view, for which there is room."""
        length, used = len(view), self._used
        if length:
            self._data[used : used + length] = view
            self._used = used + length
            self.room -= length
        self.size += _RECORD
        self._records += (tapped, from_client, offset, length, at, is_eof, is_end)

    def __iter__(self) -> Iterator[Copied]:
        """All copies; the bytes of each are overwritten once the next one is asked for."""
        start, values = 0, iter(self._records)
        for tapped, from_client, offset, length, *rest in zip(*[values] * 7, strict=True):
            whole = length == len(self._data)
            data = self._data if whole else self._data[start : start + length]
            start += length
            yield Copied(tapped, from_client, offset, data, *rest)
            wipe(data)
        wipe(self._data)


def wipe(data: bytearray) -> None:
    """Overwrite it where it is."""
    data[:] = bytes(len(data))


class Backlog:
    """`has_room` and `put` are for the loop; `wait`, `pause`, `take` and `done` for the thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bytes_max: int = BYTES_MAX) -> None:
        self._loop = loop
        self._bytes_max = bytes_max
        self._open: Batch | None = None
        self._batches: deque[Batch] = deque()
        self.put_so_far = 0  # bytes in memory, written by the loop
        self._taken = 0  # and by the thread
        self._is_due = False
        self._woken = threading.Event()
        self._hurry_at = _NEVER
        self._hurried = threading.Event()

    @property
    def is_empty(self) -> bool:
        """Whether everything that was put is parsed."""
        return self.put_so_far == self._taken

    @property
    def is_filling(self) -> bool:
        """Whether more than half of the room is used."""
        return 2 * (self.put_so_far - self._taken) > self._bytes_max

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more can wait."""
        return self.put_so_far - self._taken + size <= self._bytes_max

    def put(
        self,
        tapped: Tapped,
        from_client: bool,
        offset: int,
        view: memoryview,
        at: float,
        *,
        is_eof: bool = False,
        is_end: bool = False,
    ) -> None:
        """Copy a view and have it parsed, see Copied; there must be room."""
        batch = self._open
        if batch is None or batch.room < len(view):
            batch = self._begin(len(view))
        batch.add(tapped, from_client, offset, view, at, is_eof, is_end)
        self.put_so_far += _RECORD
        if not batch.room:  # of a long body, which the loop counts once the parser has all of it
            self._hand_over()
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(_WAKE_AFTER, self._ring)

    def _begin(self, length: int) -> Batch:
        batch = Batch(_BATCH if 2 * length <= _BATCH else length)
        self._hand_over()
        self._open = batch
        self.put_so_far += batch.size
        if self.put_so_far - self._taken > _MANY:
            self._woken.set()
        if self.put_so_far > self._hurry_at:
            self._hurried.set()
        return batch

    def _hand_over(self) -> None:
        batch, self._open = self._open, None
        if batch is not None:
            self._batches.append(batch)

    def _ring(self) -> None:
        self._is_due = False
        self._hand_over()
        self._woken.set()

    def wake(self) -> None:
        """Have `wait` and `pause` return."""
        self._woken.set()
        self._hurried.set()

    def wait(self) -> None:
        """Wait until there may be something to take."""
        self._woken.wait()
        self._woken.clear()

    def pause(self, seconds: float) -> bool:
        """Wait so long, but no longer once many bytes have come; returns whether they have."""
        self._hurry_at = self.put_so_far + _HURRY
        has_to_hurry = self._hurried.wait(seconds)
        self._hurry_at = _NEVER
        self._hurried.clear()
        return has_to_hurry

    def take(self) -> Batch | None:
        """The next batch; None if there is none now."""
        try:
            return self._batches.popleft()
        except IndexError:
            return None

    def done(self, batch: Batch) -> None:
        """A batch was parsed: there is room for others."""
        self._taken += batch.size
