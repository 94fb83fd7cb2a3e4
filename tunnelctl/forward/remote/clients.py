"""The clients of a remote forward, which come over its link: admitted, asked for a SOCKS target,
and connected.

Owns their connections. Must never connect to a target that the profile does not name: a fixed one,
or one that `permit` allows after its name was resolved once.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from tunnelctl.errors import Code, Failure
from tunnelctl.forward import sentences
from tunnelctl.forward.channel_requests import Origin, reason_of, target_failure
from tunnelctl.forward.client_connections import (
    ClientConnection,
    ConnectionLog,
    Connections,
    Counters,
)
from tunnelctl.forward.listener import listens_here
from tunnelctl.forward.socks import WINDOW_MIN, RemoteSocksClient
from tunnelctl.forward.target import TargetSide, resolve
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.permit import permits
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.record import Ending
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure
from tunnelctl.wire.socks import Reply, reply_for


class RemoteClients:
    """For one forward of `profile`. `on_failure` is called for every client that could not be
    served. `log` numbers connections."""

    def __init__(
        self,
        forward: Forward,
        reactor: Reactor,
        on_failure: Callable[[Failure], None],
        profile: str,
        log: ConnectionLog,
    ) -> None:
        self._forward = forward
        self._reactor = reactor
        self._on_failure = on_failure
        self.connections = Connections(
            reactor,
            log,
            listening_here=False,
            profile=profile,
            name=forward.name,
            host=forward.via,
        )
        self._target_side = TargetSide(reactor, self.connections)
        self._handshakes: set[ClientConnection] = set()  # of SOCKS clients

    @property
    def counters(self) -> Counters:
        """The bytes and connections so far."""
        return self.connections.counters

    async def close(self, drain: float) -> None:
        """Let connections end for `drain` seconds, then reset them."""
        for connection in tuple(self._handshakes):
            connection.end_early(Ending.CLOSED)
        await self._target_side.close(drain)

    def cut(self) -> None:
        """Reset all connections now; `close` does the rest."""
        self.connections.cut()

    def admit(self, link: Link, incoming: IncomingOpen, origin: Origin) -> None:
        """Serve a client from `origin`, or turn it away."""
        full = self.counters.open >= self._forward.max_connections
        connection = self.connections.began(origin, target=self._forward.target)
        if not self._forward.admits(origin[0]):
            self._refuse(
                connection, incoming, sentences.client_not_allowed(self._forward, origin[0])
            )
        elif full:
            self._refuse(connection, incoming, sentences.too_many_connections(self._forward))
        elif self._forward.target is None and incoming.window < WINDOW_MIN:
            self._refuse(connection, incoming, sentences.no_window_for_socks(self._forward))
        elif self._forward.target is not None:
            target = self._forward.target
            self._target_side.serve(connection, link, incoming, target, self._unreachable)
        else:
            self._ask(connection, link, incoming)

    def _refuse(
        self, connection: ClientConnection, incoming: IncomingOpen, failure: Failure
    ) -> None:
        incoming.reject(OpenFailure.ADMINISTRATIVELY_PROHIBITED, failure.detail)
        self._failed(connection, failure)

    def _unreachable(self, connection: ClientConnection, error: OSError) -> None:
        assert connection.target is not None
        self._failed(connection, target_failure(self._forward, connection.target, error))

    def _failed(self, connection: ClientConnection, failure: Failure) -> None:
        self.connections.failed(connection, failure.code, Ending.REFUSED, failure)
        self._on_failure(failure)

    def _ask(self, connection: ClientConnection, link: Link, incoming: IncomingOpen) -> None:
        """Read the target from a SOCKS client on the server."""

        def on_request(client: RemoteSocksClient) -> None:
            self._handshakes.discard(connection)
            connection.target = client.server.request
            work = self._dial(connection, link, client)
            self._target_side.spawn(connection, work, f"dial {client.server.request}")

        def on_end(mistake: str) -> None:
            self._handshakes.discard(connection)
            failure = sentences.socks_failed(self._forward, mistake) if mistake else None
            how = Ending.LINK_LOST if link.connection.is_lost else Ending.LEFT
            if failure is not None:
                how = Ending.REFUSED
            self.connections.failed(connection, Code.HANDSHAKE_FAILED, how, failure)

        def give_up() -> None:
            client.abort()
            on_end("")

        client = RemoteSocksClient(self._reactor.loop, incoming, on_request, on_end)
        connection.link, connection.give_up = link, give_up
        self._handshakes.add(connection)

    async def _dial(
        self, connection: ClientConnection, link: Link, client: RemoteSocksClient
    ) -> None:
        """Connect a client to the target that it asked for, if `permit` allows it."""
        wanted = client.server.request
        assert wanted is not None
        try:
            addresses = await self._permitted(wanted)
            if not addresses:
                client.refuse(Reply.NOT_ALLOWED)
                self._failed(connection, sentences.target_not_permitted(self._forward, wanted))
                return
            sock = await self._target_side.connect(addresses)
        except OSError as error:
            client.refuse(reply_for(OpenFailure.CONNECT_FAILED, reason_of(error)))
            self._unreachable(connection, error)
        except asyncio.CancelledError:
            client.abort()
            self.connections.failed(connection, Code.SESSION_LOST, Ending.CLOSED)
            raise
        else:
            self._begin(connection, link, client, sock)

    def _begin(
        self,
        connection: ClientConnection,
        link: Link,
        client: RemoteSocksClient,
        sock: socket.socket,
    ) -> None:
        if client.is_gone or link.connection.is_lost:
            sock.close()
            how = Ending.LINK_LOST if link.connection.is_lost else Ending.LEFT
            self.connections.failed(connection, Code.SESSION_LOST, how)
        else:
            early = client.grant()
            self.connections.relay(connection, link, sock).adopt(client.channel, early)

    async def _permitted(self, wanted: Endpoint) -> list[Endpoint]:
        """The addresses to connect to: the name is resolved once, and only these are used."""

        def is_permitted(address: Endpoint) -> bool:
            parsed = ipaddress.ip_address(address.host.partition("%")[0])
            ours = listens_here(address)
            return permits(self._forward.permit, wanted.host, parsed, wanted.port, ours=ours)

        found = map(_plain, await resolve(wanted))
        return list(filter(is_permitted, found))


def _plain(address: Endpoint) -> Endpoint:
    """An IPv4 address in IPv6 notation as IPv4, because rules are written for that."""
    parsed = ipaddress.ip_address(address.host.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return Endpoint(str(parsed.ipv4_mapped), address.port)
    return address
