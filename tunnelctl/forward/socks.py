"""SOCKS clients, on this machine and on the server: the handshake before the relay.

Owns a client from its first byte to its request. `SocksClient` uses a local socket,
`RemoteSocksClient` a channel that the server opened. A client has 10 seconds for its handshake.
Must never connect to a target: the caller does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from tunnelctl.net.endings import close_in_order, reset, take_leave
from tunnelctl.net.reactor import FAILED, READABLE, Reactor
from tunnelctl.wire.channel import Channel, ChannelHandler
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.socks import Reply, SocksError, SocksServer

HANDSHAKE_SECONDS = 10.0
_TOO_SLOW = f"no request within {HANDSHAKE_SECONDS:g} s"
# Our side of a handshake fits into a window of so many bytes.
WINDOW_MIN = 64
_RECEIVE = 512


class SocksClient:
    """A Handler for a local socket. Exactly one of these follows: `on_request(server)`, and the
    socket is the caller's again; or `on_end(mistake)`, and it is closed. `mistake` is what the
    client did wrong, empty if it left or was aborted."""

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        on_request: Callable[[SocksServer], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self._server = SocksServer()
        self._on_request = on_request
        self._on_end = on_end
        self._done = False
        self._timer = reactor.loop.call_later(HANDSHAKE_SECONDS, self._expire)
        reactor.register(sock.fileno(), self)

    def abort(self) -> None:
        """Reset the client."""
        self._reset("")

    def _expire(self) -> None:
        self._reset(_TOO_SLOW)

    def _reset(self, mistake: str) -> None:
        if self._finish():
            reset(self._sock)
            self._on_end(mistake)

    def ready(self, events: int) -> None:
        """See reactor.Handler."""
        if events & FAILED:
            self.abort()
        elif events & READABLE and not self._done:
            self._receive()

    def _receive(self) -> None:
        while not self._done:
            try:
                data = self._sock.recv(_RECEIVE)
            except (BlockingIOError, InterruptedError):
                self._reactor.expect_readable(self._sock.fileno())
                return
            except OSError:
                self.abort()
                return
            if not data:
                self._refuse(b"", "")
                return
            try:
                self._say(self._server.receive(data))
            except SocksError as error:
                self._refuse(error.reply, str(error))
                return
            if self._server.request is not None and self._finish():
                self._on_request(self._server)

    def _say(self, data: bytes) -> None:
        # A few bytes into an empty send buffer: it takes them, or the client is gone.
        if data:
            with contextlib.suppress(OSError):
                self._sock.send(data)

    def _refuse(self, reply: bytes, mistake: str) -> None:
        if self._finish():
            take_leave(self._sock, reply)
            close_in_order(self._sock)
            self._on_end(mistake)

    def _finish(self) -> bool:
        if self._done:
            return False
        self._done = True
        self._timer.cancel()
        self._reactor.unregister(self._sock.fileno())
        return True


class RemoteSocksClient(ChannelHandler):
    """A client on the server, over its channel. `on_request(self)` follows, and then exactly one of
    `grant` and `refuse`; or `on_end(mistake)` as for a SocksClient, and the channel is closed."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        incoming: IncomingOpen,
        on_request: Callable[[RemoteSocksClient], None],
        on_end: Callable[[str], None],
    ) -> None:
        self.server = SocksServer()
        self.is_gone = False
        self._on_request = on_request
        self._on_end = on_end
        self._early = bytearray()  # bounded by the window, which is not extended yet
        self._timer = loop.call_later(HANDSHAKE_SECONDS, self._expire)
        self.channel: Channel = incoming.accept(self)

    def grant(self) -> bytes:
        """Tell the client that it is connected; returns the bytes that it sent already."""
        self.channel.send_data(self.server.reply(Reply.GRANTED))
        return self.server.rest + self._early

    def refuse(self, reply: Reply) -> None:
        """Refuse the client, and end."""
        self._leave(self.server.reply(reply))

    def abort(self) -> None:
        """End without an answer."""
        if not self.is_gone:
            self.is_gone = True
            self._timer.cancel()
            self.channel.close()

    def _expire(self) -> None:
        self._leave(b"")
        self._on_end(_TOO_SLOW)

    def _leave(self, reply: bytes) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        self._timer.cancel()
        self.channel.send_data(reply)
        self.channel.send_eof()
        self.channel.close()

    def data(self, data: memoryview) -> None:
        if self.server.request is not None:
            self._early += data
            return
        try:
            self.channel.send_data(self.server.receive(bytes(data)))
        except SocksError as error:
            self._leave(error.reply)
            self._on_end(str(error))
            return
        if self.server.request is None:
            self.channel.consumed(len(data))
            return
        self.channel.consumed(len(data) - len(self.server.rest))
        self._timer.cancel()
        self._on_request(self)

    def eof(self) -> None:
        if self.server.request is None and not self.is_gone:
            self._leave(b"")
            self._on_end("")

    def closed(self) -> None:
        asked = self.server.request is not None
        self.is_gone = True
        self._timer.cancel()
        if not asked:
            self._on_end("")
