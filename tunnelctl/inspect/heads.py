"""The head of a request or response: collected, blacked out, and then parsed by h11.

Owns the only places where the values of secret headers are, for as long as a head is incomplete.
They are overwritten where they lie, before anything makes an object of them. Must never hand on a
head that still has them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import h11

from tunnelctl.inspect.reasons import NotInspected, Reason
from tunnelctl.state.documents.exchange import BLACKED_OUT, SECRET_HEADERS, Headers

_HEAD_MAX = 64 * 1024
_FIRST_SIZE = 1024
_END = re.compile(rb"\n\r?\n")  # h11 accepts both as well
_NAMES = b"|".join(sorted(name.encode() for name in SECRET_HEADERS))
# The value of a header, with the lines that continue it (RFC 9112 section 5.2).
_SECRET = re.compile(rb"\n(?:" + _NAMES + rb")[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE)
_LINE = re.compile(rb"[^\r\n]+")


class HeadBuffer:
    """Collects one head after another."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._size = 0  # the used part of `_kept`

    @property
    def is_empty(self) -> bool:
        """Whether no byte of the next head has come."""
        return not self._size

    def take(self, data: bytearray, start: int) -> tuple[int, bytes | None]:
        """Take bytes from `data`, which may be overwritten; returns where the rest begins, and the
        head once it is complete, without the values of secret headers.

        Raises:
            NotInspected: it is too long.
        """
        if not self._size:
            while start < len(data) and data[start] in b"\r\n":  # RFC 9112 section 2.2
                start += 1
            found = _END.search(data, start)
            if found is not None:
                return found.end(), _blacked_out(data, start, found.end())
        looked = max(0, self._size - 2)
        before = self._size
        self._append(data, start)
        found = _END.search(self._kept, looked, self._size)
        if found is None:
            if self._size > _HEAD_MAX:
                raise NotInspected(Reason.MALFORMED)
            return len(data), None
        head = _blacked_out(self._kept, 0, found.end())
        rest = start + found.end() - before
        self.wipe()
        return rest, head

    def wipe(self) -> None:
        """Overwrite what was collected."""
        self._kept[:] = bytes(len(self._kept))
        self._size = 0

    def _append(self, data: bytearray, start: int) -> None:
        """Copy, without a byte left behind where the buffer was before, or in a copy that a
        bytearray would make of what it takes from a view."""
        size = len(data) - start
        if self._size + size > len(self._kept):
            larger = bytearray(max(_FIRST_SIZE, 2 * (self._size + size)))
            memoryview(larger)[: self._size] = memoryview(self._kept)[: self._size]
            self._kept[:] = bytes(len(self._kept))
            self._kept = larger
        memoryview(self._kept)[self._size : self._size + size] = memoryview(data)[start:]
        self._size += size


def _blacked_out(data: bytearray, start: int, end: int) -> bytes:
    """The head in this place, where the secret values are overwritten by spaces."""
    for secret in _SECRET.finditer(data, start, end):
        for line in _LINE.finditer(data, *secret.span(1)):
            first, last = line.span()
            data[first:last] = b" " * (last - first)
    return bytes(memoryview(data)[start:end])


class RequestHead:
    """A request's head. `proposes_switch`: what follows it depends on the response."""

    def __init__(self, head: bytes) -> None:
        """Raises NotInspected."""
        if head.startswith(b"PRI * HTTP/2.0"):
            raise NotInspected(Reason.HTTP2)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_MAX)
        event, then = _two_events(connection, head)
        if not isinstance(event, h11.Request):
            raise NotInspected(Reason.MALFORMED)
        self.event = event
        self.has_body = then is h11.NEED_DATA
        self.proposes_switch = event.method == b"CONNECT" or _has(event, b"upgrade")


def _asked(method: bytes, upgrade: Sequence[tuple[bytes, bytes]] = ()) -> h11.Request:
    """What h11 has to know about a request, to read its response; it sends HTTP/1.1 only."""
    return h11.Request(method=method, target=b"/", headers=[(b"host", b"-"), *upgrade])


_USUAL = {method: _asked(method) for method in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE")}
_END_OF_REQUEST = h11.EndOfMessage()


class ResponseHeads:
    """The heads that answer one request: any number of interim ones, then the final one."""

    def __init__(self, request: h11.Request) -> None:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_MAX)
        upgrade = [(k, v) for k, v in request.headers if k == b"upgrade"]
        usual = None if upgrade else _USUAL.get(request.method)
        self._connection.send(usual or _asked(request.method, upgrade))
        self._connection.send(_END_OF_REQUEST)

    def read(self, head: bytes) -> ResponseHead:
        """The next head. Raises NotInspected."""
        event, then = _two_events(self._connection, head)
        if not isinstance(event, h11.Response | h11.InformationalResponse):
            raise NotInspected(Reason.MALFORMED)
        return ResponseHead(event, then)


class ResponseHead:
    """A response's head. `is_interim`: another one follows. `switches`: the protocol changes after
    it."""

    def __init__(self, event: h11.Response | h11.InformationalResponse, then: object) -> None:
        self.event = event
        self.switches = then is h11.PAUSED
        self.is_interim = isinstance(event, h11.InformationalResponse) and not self.switches
        self.has_body = then is h11.NEED_DATA and not self.is_interim


def _two_events(connection: h11.Connection, head: bytes) -> tuple[Any, Any]:
    """The event of a head, and the one after it: without a body that is h11.EndOfMessage, or
    h11.PAUSED if the protocol may change."""
    try:
        connection.receive_data(head)
        return connection.next_event(), connection.next_event()
    except h11.ProtocolError:
        raise NotInspected(Reason.MALFORMED) from None


def headers_of(event: h11.Request | h11.Response | h11.InformationalResponse) -> Headers:
    """The headers as they were written, except the secret ones."""
    return tuple(
        (name.decode("latin-1"), _shown(name, value)) for name, value in event.headers.raw_items()
    )


def _shown(name: bytes, value: bytes) -> str:
    text = name.decode("latin-1").lower()
    return BLACKED_OUT if text in SECRET_HEADERS else value.decode("latin-1")


def _has(event: h11.Request, name: bytes) -> bool:
    return any(key == name for key, _ in event.headers)
