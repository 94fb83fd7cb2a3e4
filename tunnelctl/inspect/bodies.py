"""Finds the end of a body (RFC 9112 section 6) by counting its bytes.

Owns the framing of bodies. h11 would have to be given every byte; here the rest of a body that is
not kept is passed over, so that a long one costs nothing, and trailers are never made into objects,
because they may have secrets. Must never keep more than the first part.

A body belongs to the parser's thread, or to the loop while that counts the chunks of the rest
(`Flow.offer`), never to both.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from enum import Enum, auto

from tunnelctl.inspect.reasons import NotInspected, Reason
from tunnelctl.state.documents.exchange import HttpMessage

BODY_MAX = 64 * 1024
_LINE_MAX = 4096  # of the size of a chunk and its extensions
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?\r?", re.DOTALL)
FOREVER = 1 << 62
_CR, _LF = b"\r\n"


class KeptBody:
    """The first part of a message's body; `on_kept(size)` is called with what memory it takes."""

    def __init__(self, message: HttpMessage, on_kept: Callable[[int], None]) -> None:
        self.message = message
        self._on_kept = on_kept

    @property
    def is_full(self) -> bool:
        """Whether nothing more is kept."""
        return len(self.message.body) >= BODY_MAX

    def add(self, data: bytearray, start: int, end: int) -> None:
        """These bytes belong to the body."""
        message = self.message
        message.size += end - start
        room = BODY_MAX - len(message.body)
        if room > 0:
            size = min(end - start, room)
            message.body += data[start : start + size]
            self._on_kept(size + size // 8)  # a bytearray that grows has that much to spare

    def pass_over(self, count: int) -> None:
        """So many bytes of the body were not copied."""
        self.message.size += count


class Body(ABC):
    """The framing of one body. `unneeded` bytes from the current position on may be left out."""

    is_done = False
    unneeded = 0
    was_skimmed = False  # by the loop, since the parser looked last

    def __init__(self, kept: KeptBody) -> None:
        self.kept = kept

    @abstractmethod
    def take(self, data: bytearray, start: int) -> int:
        """Take bytes of `data`; returns where those after the body begin. Raises NotInspected."""

    @abstractmethod
    def skip(self, count: int) -> None:
        """So many bytes, at most `unneeded`, were left out."""

    def end(self) -> None:
        """The connection ended."""
        self.kept.message.is_cut = True


class Length(Body):
    """A body with Content-Length."""

    def __init__(self, kept: KeptBody, length: int) -> None:
        super().__init__(kept)
        self.unneeded = length

    def take(self, data: bytearray, start: int) -> int:
        end = min(len(data), start + self.unneeded)
        self.kept.add(data, start, end)
        self._passed(end - start)
        return end

    def skip(self, count: int) -> None:
        self.kept.pass_over(count)
        self._passed(count)

    def _passed(self, count: int) -> None:
        self.unneeded -= count
        self.is_done = not self.unneeded


class UntilEnd(Body):
    """A response that ends with the connection."""

    unneeded = FOREVER

    def take(self, data: bytearray, start: int) -> int:
        self.kept.add(data, start, len(data))
        return len(data)

    def skip(self, count: int) -> None:
        self.kept.pass_over(count)

    def end(self) -> None:
        self.is_done = True


class _Part(Enum):
    """The next part of a body in chunks, when no data of a chunk is due."""

    SIZE = auto()
    END_OF_CHUNK = auto()
    TRAILER = auto()


# What the loop counts: a size, and what is between the data of two chunks, as far as it has come.
# The last chunk, of size 0, and extensions are left to the parser.
_PLAIN_SIZE = rb"0{0,15}([1-9A-Fa-f][0-9A-Fa-f]{0,15})[ \t]*\r\n"
_PLAIN = {
    _Part.SIZE: re.compile(_PLAIN_SIZE),
    _Part.END_OF_CHUNK: re.compile(rb"\r\n(?:" + _PLAIN_SIZE + rb")?"),
}
_PLAIN_MAX = 16  # chunks in one view: the loop must not spend more time on it than on a copy


class Chunked(Body):
    """A body in chunks."""

    def __init__(self, kept: KeptBody) -> None:
        super().__init__(kept)
        self._part = _Part.SIZE
        self._line = bytearray()  # the part of a size that has come
        self._length = 0  # of the current trailer, so far
        self._is_fine = False  # too many chunks for the loop

    @property
    def can_be_skimmed(self) -> bool:
        """Whether the loop may count its chunks from here on."""
        return not self._is_fine and not self._line and self._part is not _Part.TRAILER

    def skim(self, view: memoryview) -> int:
        """Pass over plain chunks, without a copy; returns how many bytes of `view` these are. What
        follows, if anything, is for `take`."""
        self.was_skimmed = True
        size, framing = len(view), 0
        end = self.unneeded  # where the data of the current chunk ends in the view
        if end >= size:  # most views of long chunks
            self.unneeded = end - size
            self.kept.message.size += size
            return size
        for _ in range(_PLAIN_MAX):
            if end >= size:
                break
            found = _PLAIN[self._part].match(view, end)
            if found is None:
                break
            digits, after = found[1], found.end()
            framing += after - end
            if digits is None:
                self._part, end = _Part.SIZE, after
            else:
                self._part, end = _Part.END_OF_CHUNK, after + int(digits, 16)
        else:
            self._is_fine = True
        passed = end if end < size else size
        self.unneeded = end - passed
        self.kept.message.size += passed - framing
        return passed

    def take(self, data: bytearray, start: int) -> int:
        while start < len(data) and not self.is_done:
            if self.unneeded:
                end = min(len(data), start + self.unneeded)
                self.kept.add(data, start, end)
                self.unneeded -= end - start
                start = end
            elif self._part is _Part.SIZE:
                start = self._take_size(data, start)
            elif self._part is _Part.TRAILER:
                start = self._take_trailer(data, start)
            else:
                start = self._take_end_of_chunk(data, start)
        return start

    def skip(self, count: int) -> None:
        self.kept.pass_over(count)
        self.unneeded -= count

    def _take_size(self, data: bytearray, start: int) -> int:
        end = data.find(b"\n", start)
        self._line += data[start : len(data) if end < 0 else end]
        if len(self._line) > _LINE_MAX:
            raise NotInspected(Reason.MALFORMED)
        if end < 0:
            return len(data)
        found = _SIZE.fullmatch(self._line)
        if found is None:
            raise NotInspected(Reason.MALFORMED)
        self.unneeded = int(found[1], 16)
        self._part = _Part.END_OF_CHUNK if self.unneeded else _Part.TRAILER
        self._line = bytearray()
        return end + 1

    def _take_end_of_chunk(self, data: bytearray, start: int) -> int:
        if data[start] == _LF:
            self._part = _Part.SIZE
        elif data[start] != _CR:
            raise NotInspected(Reason.MALFORMED)
        return start + 1

    def _take_trailer(self, data: bytearray, start: int) -> int:
        """Only whether the line is empty is looked at."""
        end = data.find(b"\n", start)
        stop = len(data) if end < 0 else end
        self._length += stop - start - data.count(b"\r", start, stop)
        if end < 0:
            return len(data)
        self.is_done = not self._length
        self._length = 0
        return end + 1


def body_of(headers: Iterable[tuple[bytes, bytes]], kept: KeptBody) -> Body:
    """The framing of a message that has a body; h11 has checked its headers."""
    fields = dict(headers)
    if b"transfer-encoding" in fields:
        return Chunked(kept)
    if b"content-length" in fields:
        return Length(kept, int(fields[b"content-length"]))
    return UntilEnd(kept)
