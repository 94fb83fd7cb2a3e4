"""One authenticated SSH connection on the event loop.

Owns the connection protocol over a `PacketStream`, the dispatch of messages, and the reason for the
end of the link. Keepalives are in `liveness.py`, key exchange in `rekeying.py`. Must never close
without resetting its connections.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.threads import ended
from tunnelctl.ssh import sentences
from tunnelctl.ssh.link.info import LinkInfo, LinkSettings, peer_address, printable_word
from tunnelctl.ssh.link.liveness import Liveness
from tunnelctl.ssh.link.rekeying import Rekeying
from tunnelctl.ssh.link.way import DIRECT, Way
from tunnelctl.ssh.packets.handover import PacketState
from tunnelctl.ssh.packets.stream import PacketStream
from tunnelctl.ssh.packets.transport import SshTransport
from tunnelctl.ssh.server_debug import LISTENS_ELSEWHERE, log_said
from tunnelctl.wire import messages
from tunnelctl.wire.connection import Acceptor, Connection, Request
from tunnelctl.wire.messages import (
    CONNECTION_FIRST,
    TRANSPORT_LAST,
    Message,
    ProtocolError,
    Reader,
)
from tunnelctl.wire.window import OPENSSH_WINDOW_LIMIT, WINDOW_LIMIT, RoundTrip

# The parked thread only waits for the signal to end.
_THREAD_SECONDS: Final = 5.0
_SAID_KEPT: Final = 8
_DISCONNECT_BY_APPLICATION: Final = 11

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class GlobalReply:
    """The result of a global request. `data` is None for a refusal, also by a link that ended.

    `is_unknown`: the peer does not know the request. `is_awaited`: somebody still waits for it.
    `was_left`: the peer closed the link cleanly when this was the next request to answer.
    """

    data: bytes | None
    is_unknown: bool = False
    is_awaited: bool = True
    was_left: bool = False


class Link:
    """Used from the loop's thread only."""

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        transport: SshTransport,
        settings: LinkSettings,
        make_acceptor: Callable[[Link], Acceptor],
        way: Way = DIRECT,
    ) -> None:
        self.settings = settings
        self.reactor = reactor
        self.closed: asyncio.Future[Failure] = reactor.loop.create_future()
        # The peer closed it at the first channel that was requested, or after it, and never granted
        # one: some servers forward nothing, and disconnect.
        self.left_at_open = False
        # How long it had no channel when the peer closed it cleanly, in seconds; None if it had
        # one, or ended otherwise. `last_word` is the peer's message.
        self.left_unused: float | None = None
        self.last_word = ""
        # The request that the peer closed it for, instead of an answer.
        self._left_at: Request | None = None
        self.info = LinkInfo.of(transport, settings.address or peer_address(sock))
        self._way = way
        self._transport = transport
        self._said: tuple[str, ...] = ()
        loop = reactor.loop
        transport.give_up_socket()

        def make_stream(state: PacketState) -> PacketStream:
            return PacketStream(reactor, sock, state, self._receive, self._stream_lost)

        self._rekeying = Rekeying(loop, transport, settings, make_stream, self.close)
        self.stream = self._rekeying.stream
        self.acceptor = make_acceptor(self)
        limit = OPENSSH_WINDOW_LIMIT if self.info.software.is_openssh else WINDOW_LIMIT
        budget = reactor.buffers.window_budget
        round_trip = RoundTrip(clock.monotonic, limit=limit, budget=budget)
        send = self.stream.send
        self.connection = Connection(send, self.acceptor, round_trip, ask=send)
        self.liveness = Liveness(
            loop, settings, self.connection, self.stream, round_trip, self.close,
            lambda: self._rekeying.is_under_way,
        )  # fmt: skip

    def cut(self) -> None:
        """End the link with a reset, before anything more is sent. Idempotent."""
        self.stream.cut()
        self.close()

    def close(self, failure: Failure | None = None) -> None:
        """End the link: channels are reset, waiting requests refused. Idempotent."""
        if self.closed.done():
            return
        if failure is None:
            failure = sentences.link_closed(*self.settings.peer)
        else:
            failure = self._way.explain(failure)
        self.closed.set_result(failure)
        self.liveness.close()
        self.stream.send_now(messages.disconnect(_DISCONNECT_BY_APPLICATION, "closed by user"))
        self.stream.close()
        self.connection.lose()
        self._rekeying.close()
        self._way.close()

    async def wait_thread(self) -> None:
        """Wait until the parked thread and the way have ended, after `close`."""
        await ended(self._transport, _THREAD_SECONDS)
        await self._way.wait_closed()

    def ask(self, name: str, data: bytes, then: Callable[[GlobalReply], _T]) -> asyncio.Future[_T]:
        """Send a global request (RFC 4254 section 4); the result is what `then` makes of the reply.

        `then` is called before the next message is read, which may depend on it, even if nobody
        waits for the future any more. An exception of it ends the link, and cancels the future.
        """
        answer: asyncio.Future[_T] = self.reactor.loop.create_future()

        def on_reply(reply: bytes | None) -> None:
            is_unknown = request is not None and request.is_unknown
            try:
                was_left = request is not None and request is self._left_at
                result = then(GlobalReply(reply, is_unknown, not answer.cancelled(), was_left))
            except BaseException:
                answer.cancel()
                raise
            if not answer.done():
                answer.set_result(result)

        request: Request | None = None  # a lost link refuses it at once
        request = self.connection.request(name, data, on_reply)
        return answer

    def take_said(self) -> tuple[str, ...]:
        """The last DEBUG messages of the peer since the last call: OpenSSH explains in them why it
        refuses the request that it answers next."""
        said, self._said = self._said, ()
        return said

    def explain(self, failure: Failure) -> Failure:
        """The cause of a `failure` of this link: a failure on the way to it, or itself."""
        return self._way.explain(failure)

    # Messages.

    def _receive(self, payload: memoryview, sequence: int) -> None:
        kind = payload[0]
        if kind >= CONNECTION_FIRST:
            if not self.connection.receive(payload):
                self.stream.send(messages.unimplemented(sequence))
        else:
            self._receive_transport(kind, payload, sequence)
        self._rekeying.begin_if_due()

    def _receive_transport(self, kind: int, payload: memoryview, sequence: int) -> None:
        # EXT_INFO (RFC 8308) matters only for the login.
        if kind in (Message.IGNORE, Message.EXT_INFO):
            return
        if kind == Message.UNIMPLEMENTED:
            self.connection.unimplemented(Reader(payload, 1).u32())
        elif kind == Message.DISCONNECT:
            reader = Reader(payload, 1)
            reader.u32()
            self.last_word = said = printable_word(reader.text())
            self._left(sentences.peer_disconnected(*self.settings.peer, said))
        elif kind == Message.DEBUG:
            reader = Reader(payload, 1)
            always_display, text = reader.boolean(), printable_word(reader.text())
            # The only message of OpenSSH about a listener that GatewayPorts moved; the other DEBUG
            # messages at login are for debugging.
            urgent = always_display or text.startswith(LISTENS_ELSEWHERE)
            level = logging.WARNING if urgent else logging.DEBUG
            log_said(self.settings.title, text, level)
            self._said = (*self._said, text)[-_SAID_KEPT:]
        elif Message.KEXINIT <= kind <= TRANSPORT_LAST:
            self._rekeying.receive(kind, payload, sequence)
        else:
            self.stream.send(messages.unimplemented(sequence))

    def _stream_lost(self, error: OSError | ProtocolError | None) -> None:
        peer = self.settings.peer
        if isinstance(error, ProtocolError):
            self.close(sentences.protocol_broken(*peer, str(error)))
        elif error is None:
            self._way.when_known(lambda: self._left(sentences.peer_closed(*peer)))
        else:
            self.close(sentences.link_lost(*peer, error.strerror or str(error)))

    def _left(self, failure: Failure) -> None:
        """The peer closed the link cleanly, or the way to it ended."""
        if self.closed.done():
            return
        connection = self.connection
        self.left_at_open = connection.is_at_open and not connection.has_carried
        if not (connection.channels or self.left_at_open or self._way.has_failed):
            self.left_unused = clock.monotonic() - connection.unused_since
        if not self._way.has_failed:
            self._left_at = connection.oldest_request
        self.close(failure)
