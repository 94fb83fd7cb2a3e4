"""The rights of a client of the embedded server: forwards in both directions, and nothing else.

Owns the listeners and connections of one client. Must never run a command or listen off
loopback.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from tunnelctl.errors import Code, Failure
from tunnelctl.forward.client_connections import ClientConnection, ConnectionLog, Connections
from tunnelctl.forward.listener import Listener
from tunnelctl.forward.listening import listen
from tunnelctl.forward.target import TargetSide
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.ssh.link.link import Link
from tunnelctl.wire import messages
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure, Reader


class ServerSession:
    """The server's side of a connection, as its Acceptor."""

    def __init__(self, link: Link, resolve: Callable[[Endpoint], Endpoint]) -> None:
        self._link = link
        self._resolve = resolve
        self._listeners: dict[tuple[str, int], Listener] = {}
        log = ConnectionLog(kept=0)
        self._clients = Connections(link.reactor, log, listening_here=True)
        self._dialled = Connections(link.reactor, log, listening_here=False)
        self._targets = TargetSide(link.reactor, self._dialled)
        self._closing: asyncio.Task[None] | None = None
        link.closed.add_done_callback(self._link_closed)

    def _link_closed(self, _why: asyncio.Future[Failure]) -> None:
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        self._closing = self._link.reactor.loop.create_task(
            self.wait_closed(), name="embedded server: end of a session"
        )

    async def wait_closed(self) -> None:
        """Reset all open connections."""
        await self._targets.close(drain=0)
        await self._clients.close(drain=0)

    def channel_open(self, incoming: IncomingOpen) -> None:
        """Serve `direct-tcpip` (RFC 4254 section 7.2)."""
        if incoming.kind != "direct-tcpip":
            incoming.reject(OpenFailure.UNKNOWN_CHANNEL_TYPE, "only forwards are served here")
            return
        host, port = incoming.data.text(), incoming.data.u32()
        if not 0 < port <= 65535:
            incoming.reject(OpenFailure.ADMINISTRATIVELY_PROHIBITED, f"there is no port {port}")
            return
        connection = self._dialled.began((host, port))
        target = self._resolve(Endpoint(host, port))
        self._targets.serve(connection, self._link, incoming, target, self._unreachable)

    def _unreachable(self, connection: ClientConnection, error: OSError) -> None:
        self._dialled.failed(connection, Code.TARGET_UNREACHABLE)

    def global_request(self, name: str, data: Reader) -> bytes | None:
        """Serve `tcpip-forward` and its cancellation (RFC 4254 section 7.1)."""
        if name == "tcpip-forward":
            return self._listen(data.text(), data.u32())
        if name == "cancel-tcpip-forward":
            listener = self._listeners.pop((data.text(), data.u32()), None)
            if listener is None:
                return None
            listener.close()
            return b""
        return None

    def _listen(self, address: str, port: int) -> bytes | None:
        # As sshd with GatewayPorts no: it listens on loopback, whatever address was requested.
        host = address if address in (LOOPBACK, "::1") else "localhost"
        bound = 0

        def on_client(sock: socket.socket, origin: tuple[str, int]) -> None:
            connection = self._clients.began(origin, sock)
            relay = self._clients.relay(connection, self._link, sock)
            data = messages.tcpip_open(address, bound, origin[0], origin[1])
            relay.open("forwarded-tcpip", data)

        try:
            listener = Listener(self._link.reactor, listen(Endpoint(host, port)), on_client)
        except OSError:
            return None
        bound = listener.endpoint.port
        self._listeners[address, bound] = listener
        return messages.u32(bound) if port == 0 else b""
