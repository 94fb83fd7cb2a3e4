"""One connection as HTTP/1: its requests, and the responses that answer them in order.

Owns the pairing: a response depends on its request (HEAD and CONNECT decide where it ends), and
what follows an upgrade belongs to another protocol. Runs in the parser's thread only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from datetime import timedelta
from itertools import count

from tunnelctl import clock
from tunnelctl.inspect.bodies import Body, Chunked, KeptBody, body_of
from tunnelctl.inspect.copied import Copied
from tunnelctl.inspect.heads import (
    HeadBuffer,
    RequestHead,
    ResponseHead,
    ResponseHeads,
    headers_of,
)
from tunnelctl.inspect.reasons import NotInspected, Reason
from tunnelctl.inspect.store import ITEM, RequestStore, StoredExchange
from tunnelctl.inspect.tap import Flow, Tapped
from tunnelctl.inspect.websocket import WebsocketMessages
from tunnelctl.state.documents.exchange import Frame, HttpExchange, HttpMessage

_TLS_HANDSHAKE = 0x16  # the first byte of a TLS connection (RFC 8446 section 5.1)
# Bytes that a client may send before it knows whether the protocol changes.
_HELD_MAX = 64 * 1024
_numbers = count(1)  # of exchanges, in the process


class _Pending:
    """A request whose response has not ended."""

    def __init__(self, entry: StoredExchange, head: RequestHead, began: float) -> None:
        self.entry = entry
        self.began = began
        self.is_connect = head.event.method == b"CONNECT"
        self.responses = ResponseHeads(head.event)


class Conversation:
    """Gets the bytes of a connection in the order in which they passed."""

    def __init__(self, tapped: Tapped, store: RequestStore) -> None:
        self.tapped = tapped
        self.store = store
        self.pending: deque[_Pending] = deque()
        self._requests = _Requests(self, tapped.from_client)
        self._responses = _Responses(self, tapped.from_server)

    def feed(self, item: Copied) -> None:
        """The next bytes, or the end of a direction.

        Raises:
            NotInspected: nothing more can be shown.
        """
        reader = self._requests if item.from_client else self._responses
        reader.feed(item.data, item.offset, item.at)
        if item.is_eof:
            reader.end(item.offset, item.at)

    def end(self, at: float) -> None:
        """The connection ended, or is given up."""
        self._requests.end(self.tapped.from_client.passed, at)
        self._responses.end(self.tapped.from_server.passed, at)
        while self.pending:
            self.finish(self.pending.popleft(), at)

    def finish(self, pending: _Pending, at: float) -> None:
        """Nothing more belongs to this exchange."""
        exchange = pending.entry.exchange
        exchange.duration_ms = round(1000 * (at - pending.began), 3)
        self.store.changed(pending.entry)

    def stays(self, pending: _Pending, at: float) -> None:
        """The response to this request does not change the protocol."""
        self._requests.go_on(pending, at)

    def switches(self, pending: _Pending, head: ResponseHead, at: float) -> None:
        """The protocol is another one after this response.

        Raises:
            NotInspected: it cannot be shown.
        """
        upgrade = dict(head.event.headers).get(b"upgrade", b"").lower()
        if upgrade != b"websocket" or pending.is_connect:
            is_http2 = upgrade == b"h2c" and not pending.is_connect
            raise NotInspected(Reason.HTTP2 if is_http2 else Reason.SWITCHED)
        self._requests.read_frames(pending.entry, "client")
        self._responses.read_frames(pending.entry, "server")
        self._requests.go_on(pending, at)

    def kept(self, entry: StoredExchange, message: HttpMessage) -> KeptBody:
        """The store for the body of a message."""

        def grew(size: int) -> None:
            if entry.is_kept:
                self.store.grew(entry, size, tell=entry.exchange.is_stream)
            else:  # dropped: its memory is not counted any more
                message.body.clear()

        return KeptBody(message, grew)


class _Frames:
    """One direction of a websocket, added to its exchange."""

    def __init__(self, entry: StoredExchange, sender: str, store: RequestStore) -> None:
        self._messages = WebsocketMessages(from_client=sender == "client")
        self._entry = entry
        self._sender = sender
        self._store = store

    def read(self, data: bytes, at: float) -> None:
        frames = self._entry.exchange.websocket
        for kind, size in self._messages.take(data):
            is_more = len(frames) < (frames.maxlen or 0)
            frames.append(Frame(self._sender, kind, size, _wall(at)))
            self._store.grew(self._entry, ITEM if is_more else 0, tell=True)


class _OneWay(ABC):
    """One direction: heads and bodies in turn, or frames."""

    def __init__(self, conversation: Conversation, flow: Flow) -> None:
        self._conversation = conversation
        self._flow = flow
        self._position = 0  # of the next byte in the direction
        self._head = HeadBuffer()
        self._body: Body | None = None
        self._frames: _Frames | None = None

    def feed(self, data: bytearray, offset: int, at: float) -> None:
        """See Conversation.feed. Bytes between the last position and `offset` were left out."""
        self._skip(offset, at)
        self._position = offset + len(data)
        self._read(data, 0, at)
        body = self._body
        if body is not None and body.kept.is_full:
            if isinstance(body, Chunked) and body.can_be_skimmed:
                self._flow.offer = (self._position, body)
            self._flow.wanted_from = self._position + body.unneeded

    def read_frames(self, entry: StoredExchange, sender: str) -> None:
        """Frames of a websocket follow."""
        self._frames = _Frames(entry, sender, self._conversation.store)

    def end(self, offset: int, at: float) -> None:
        """Nothing follows; the direction has so many bytes."""
        self._head.wipe()
        self._skip(offset, at)
        body = self._body
        if body is not None:
            body.end()
            if body.is_done:
                self._end_body(at)

    def _skip(self, offset: int, at: float) -> None:
        body, count = self._body, offset - self._position
        if body is None:
            return
        was_skimmed, body.was_skimmed = body.was_skimmed, False
        if count <= 0:
            return
        self._position = offset
        if was_skimmed:
            return
        body.skip(min(count, body.unneeded))
        if body.is_done:
            self._end_body(at)

    def _read(self, data: bytearray, start: int, at: float) -> None:
        while start < len(data):
            if self._frames is not None:
                self._frames.read(bytes(memoryview(data)[start:]), at)
                return
            if self._body is None:
                start = self._read_head(data, start, at)
                continue
            start = self._body.take(data, start)
            if self._body.is_done:
                self._end_body(at)

    def _read_head(self, data: bytearray, start: int, at: float) -> int:
        start, head = self._head.take(data, start)
        if head is not None:
            self._begin(head, at)
        return start

    def _end_body(self, at: float) -> None:
        if self._body is not None:
            self._body.kept.message.is_cut = False
        self._body = None
        self._finish(at)

    @abstractmethod
    def _begin(self, head: bytes, at: float) -> None:
        """A head is complete: set `_body`, or finish. Raises NotInspected."""

    @abstractmethod
    def _finish(self, at: float) -> None:
        """A message is complete."""


class _Requests(_OneWay):
    """The client's direction."""

    def __init__(self, conversation: Conversation, flow: Flow) -> None:
        super().__init__(conversation, flow)
        self._began = 0.0  # when the current head did
        # The last request, while its response may change the protocol, and what followed it.
        self._undecided: _Pending | None = None
        self._held = bytearray()

    def go_on(self, pending: _Pending, at: float) -> None:
        """The response to this request says which protocol follows."""
        if self._undecided is pending:
            self._undecided = None
            held, self._held = self._held, bytearray()
            try:
                self._read(held, 0, at)
            finally:
                held[:] = bytes(len(held))

    def end(self, offset: int, at: float) -> None:
        super().end(offset, at)
        self._held[:] = bytes(len(self._held))

    def _read_head(self, data: bytearray, start: int, at: float) -> int:
        if self._undecided is not None:
            return self._hold(data, start)
        if self._head.is_empty:
            self._began = at
            if data[start] == _TLS_HANDSHAKE:
                raise NotInspected(Reason.TLS)
        return super()._read_head(data, start, at)

    def _hold(self, data: bytearray, start: int) -> int:
        size = len(self._held) + len(data) - start
        if size > _HELD_MAX:
            raise NotInspected(Reason.OVERLOAD)
        held = self._held + memoryview(data)[start:]
        self._held[:] = bytes(len(self._held))
        self._held = held
        return len(data)

    def _begin(self, head: bytes, at: float) -> None:
        conversation, tapped = self._conversation, self._conversation.tapped
        parsed = RequestHead(head)
        event = parsed.event
        message = HttpMessage(f"HTTP/{event.http_version.decode()}", headers_of(event))
        exchange = HttpExchange(
            id=next(_numbers),
            started_at=_wall(self._began),
            method=event.method.decode("latin-1"),
            path=event.target.decode("latin-1"),
            request=message,
            client=tapped.client,
            connection=tapped.connection,
        )
        entry = StoredExchange(tapped.forward, exchange)
        pending = _Pending(entry, parsed, self._began)
        conversation.pending.append(pending)
        conversation.store.add(entry)
        if parsed.proposes_switch:
            self._undecided = pending
        if parsed.has_body:
            message.is_cut = True  # until it has ended: half an order is never sent again
            self._body = body_of(event.headers, conversation.kept(entry, message))

    def _finish(self, at: float) -> None:
        """The next request follows."""


class _Responses(_OneWay):
    """The server's direction."""

    def _begin(self, head: bytes, at: float) -> None:
        conversation = self._conversation
        if not conversation.pending:
            raise NotInspected(Reason.MALFORMED)
        pending = conversation.pending[0]
        parsed = pending.responses.read(head)
        if parsed.is_interim:
            return
        event, entry = parsed.event, pending.entry
        message = HttpMessage(f"HTTP/{event.http_version.decode()}", headers_of(event))
        entry.exchange.status = event.status_code
        conversation.store.answered(entry, message)
        if parsed.switches:
            conversation.switches(pending, parsed, at)
            return
        conversation.stays(pending, at)
        if parsed.has_body:
            self._body = body_of(event.headers, conversation.kept(entry, message))
        else:
            self._finish(at)

    def _finish(self, at: float) -> None:
        self._conversation.finish(self._conversation.pending.popleft(), at)


def _wall(at: float) -> str:
    """A monotonic time as a time of day."""
    return clock.rfc3339(clock.wall() - timedelta(seconds=clock.monotonic() - at))
