"""Copied bytes on their way from the loop to the parser's thread.

Owns the limit: what does not fit is refused at once, so the loop never waits. The thread is woken
once for all that comes within some time, because each time it takes the interpreter from the loop.
Must never make an object for each message that passes: the garbage collector would visit all that
wait, and it stops the loop.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from tunnelctl.inspect.tap import Tapped

BYTES_MAX: Final = 16 << 20
# Seconds from the first byte that waits until the thread is woken, and the bytes for which it is
# woken before: a long body is soon only counted.
_WAKE_AFTER: Final = 0.05
_WAKE_FOR: Final = 1 << 19
_HURRY: Final = 2 << 20  # bytes for which a pause ends
_NEVER: Final = 1 << 62
_BATCH: Final = 16 << 10  # bytes
_RECORD: Final = 120  # what a record takes: its places in a list, two numbers


@final
class Batch:
    """Copies that the parser gets together. The loop adds to it until the thread takes it."""

    __slots__ = ("_used", "_view", "data", "records", "room", "size")

    def __init__(self, length: int) -> None:
        self.data = bytearray(length)
        # A bytearray would make a copy of what it takes from a view, and leave that in free memory.
        self._view = memoryview(self.data)
        self._used = 0
        # One after another, for each copy: all of copied.Copied, but the length of its data.
        self.records: list[Any] = []
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
            self._view[used : used + length] = view
            self._used = used + length
            self.room -= length
        self.size += _RECORD
        self.records += (tapped, from_client, offset, length, at, is_eof, is_end)


@final
class Backlog:
    """`has_room` and `put` are for the loop; `wait`, `pause`, `take` and `done` for the thread."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        # Whoever adds to the last one takes it out meanwhile, which is one step of the interpreter:
        # a batch is the loop's or the thread's.
        self._batches: deque[Batch] = deque()
        self.put_so_far = 0  # bytes in memory, written by the loop
        self._taken = 0  # and by the thread
        self._ring_at = _NEVER  # bytes put so far, at which the thread is woken
        self._rung = threading.Event()

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
        """Copy a view and have it parsed, see copied.Copied; there must be room."""
        batch = self._last_with_room(len(view))
        before = batch.size
        try:
            batch.add(tapped, from_client, offset, view, at, is_eof, is_end)
        finally:
            self._batches.append(batch)
        self.put_so_far += batch.size - before
        if self.put_so_far >= self._ring_at:
            self._ring_at = _NEVER
            self._rung.set()

    def _last_with_room(self, length: int) -> Batch:
        """The last batch, or a new one; taken out."""
        try:
            batch = self._batches.pop()
        except IndexError:
            pass
        else:
            if batch.room >= length:
                return batch
            self._batches.append(batch)
        batch = Batch(_BATCH if 2 * length <= _BATCH else length)
        self.put_so_far += batch.size
        return batch

    def wake(self) -> None:
        """Have `wait` or `pause` return."""
        self._ring_at = _NEVER
        self._rung.set()

    def wait(self) -> None:
        """Wait until there is something to take, and then a moment for more."""
        if self._wait(self._taken + 1, None):
            self._wait(self._taken + _WAKE_FOR, _WAKE_AFTER)

    def pause(self, seconds: float) -> bool:
        """Wait so long, but no longer once many bytes have come; returns whether they have."""
        return self._wait(self.put_so_far + _HURRY, seconds)

    def _wait(self, ring_at: int, seconds: float | None) -> bool:
        """Wait for so many bytes put so far, at most `seconds`; returns whether they were put."""
        self._ring_at = ring_at
        if self.put_so_far < ring_at:  # what is put from now on sees `_ring_at`
            self._rung.wait(seconds)
        self._rung.clear()
        self._ring_at = _NEVER
        return self.put_so_far >= ring_at

    def take(self) -> Batch | None:
        """The next batch; None if there is none now."""
        try:
            return self._batches.popleft()
        except IndexError:
            return None

    def done(self, batch: Batch) -> None:
        """A batch was parsed: there is room for others."""
        self._taken += batch.size
