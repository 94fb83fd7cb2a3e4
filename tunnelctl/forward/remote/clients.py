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
from tunnelctl.forward.connections import Connections, Counters
from tunnelctl.forward.listener import listens_here
from tunnelctl.forward.requests import Origin, reason_of, target_failure
from tunnelctl.forward.socks import WINDOW_MIN, RemoteSocksClient
from tunnelctl.forward.target import TargetSide, resolve
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.permit import permits
from tunnelctl.ssh.link.link import Link
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure
from tunnelctl.wire.socks import Reply, reply_for


class RemoteClients:
    """For one forward. `on_failure` is called for every client that could not be served."""

    def __init__(
        self, forward: Forward, reactor: Reactor, on_failure: Callable[[Failure], None]
    ) -> None:
        self._forward = forward
        self._reactor = reactor
        self._on_failure = on_failure
        self._connections = Connections(reactor, listening_here=False)
        self._target_side = TargetSide(reactor, self._connections)
        self._handshakes: set[RemoteSocksClient] = set()

    @property
    def counters(self) -> Counters:
        """What was transferred so far."""
        return self._connections.counters

    async def close(self, drain: float) -> None:
        """Let connections end for `drain` seconds, then reset them."""
        for handshake in tuple(self._handshakes):
            handshake.abort()
            self._left(handshake)
        await self._target_side.close(drain)

    def admit(self, link: Link, incoming: IncomingOpen, origin: Origin) -> None:
        """Serve a client from `origin`, or turn it away."""
        full = self.counters.open >= self._forward.max_connections
        self._connections.began()
        if not self._forward.admits(origin[0]):
            self._refuse(incoming, sentences.client_not_allowed(self._forward, origin[0]))
        elif full:
            self._refuse(incoming, sentences.too_many_connections(self._forward))
        elif self._forward.target is None and incoming.window < WINDOW_MIN:
            self._refuse(incoming, sentences.no_window_for_socks(self._forward))
        elif self._forward.target is not None:
            target = self._forward.target
            self._target_side.serve(
                link, incoming, target, lambda error: self._unreachable(target, error)
            )
        else:
            self._ask(link, incoming)

    def _refuse(self, incoming: IncomingOpen, failure: Failure) -> None:
        incoming.reject(OpenFailure.ADMINISTRATIVELY_PROHIBITED, failure.detail)
        self._connections.failed(failure.code)
        self._on_failure(failure)

    def _unreachable(self, target: Endpoint, error: OSError) -> Code:
        failure = target_failure(self._forward, target, error)
        self._on_failure(failure)
        return failure.code

    def _ask(self, link: Link, incoming: IncomingOpen) -> None:
        """Read the target from a SOCKS client on the server."""

        def on_request(client: RemoteSocksClient) -> None:
            self._handshakes.discard(client)
            self._target_side.spawn(self._dial(link, client), f"dial {client.server.request}")

        client = RemoteSocksClient(
            self._reactor.loop, incoming, on_request, lambda: self._left(client)
        )
        self._handshakes.add(client)

    def _left(self, client: RemoteSocksClient) -> None:
        self._handshakes.discard(client)
        self._connections.failed(Code.HANDSHAKE_FAILED)

    async def _dial(self, link: Link, client: RemoteSocksClient) -> None:
        """Connect a client to the target that it asked for, if `permit` allows it."""
        wanted = client.server.request
        assert wanted is not None
        try:
            addresses = await self._permitted(wanted)
            if not addresses:
                client.refuse(Reply.NOT_ALLOWED)
                self._on_failure(sentences.target_not_permitted(self._forward, wanted))
                self._connections.failed(Code.FORWARD_DENIED)
                return
            sock = await self._target_side.connect(addresses)
        except OSError as error:
            client.refuse(reply_for(OpenFailure.CONNECT_FAILED, reason_of(error)))
            self._connections.failed(self._unreachable(wanted, error))
        except asyncio.CancelledError:
            client.abort()
            self._connections.failed(Code.SESSION_LOST)
            raise
        else:
            self._begin(link, client, sock)

    def _begin(self, link: Link, client: RemoteSocksClient, sock: socket.socket) -> None:
        if client.is_gone or link.connection.is_lost:
            sock.close()
            self._connections.failed(Code.SESSION_LOST)
        else:
            early = client.grant()
            self._connections.relay(link, sock).adopt(client.channel, early)

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
