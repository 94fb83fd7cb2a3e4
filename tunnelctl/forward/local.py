"""Forwards with clients on this machine: `local` and `dynamic` (ssh -L and -D).

Owns the listener of a forward, its waiting clients, and its connections. The listener outlives the
links that serve it. Must never report that it listens before it does.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from tunnelctl.errors import Code, Failure
from tunnelctl.forward import sentences
from tunnelctl.forward.channel_requests import Origin, direct, open_failure
from tunnelctl.forward.client_connections import (
    ClientConnection,
    ConnectionLog,
    Connections,
    Counters,
)
from tunnelctl.forward.listener import Listener
from tunnelctl.forward.socks import SocksClient
from tunnelctl.forward.waiting import Waiting
from tunnelctl.net.endings import reset
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.record import Ending
from tunnelctl.wire.socks import Reply, SocksServer, reply_for

OnFailure = Callable[[Failure], None]


class LocalForward:
    """The server connects to the target, which is fixed, or named by the client over SOCKS.

    `on_failure` is called for every client that could not be served, `on_waiting` for every client
    that comes while there is no link. `profile` is the name of its profile. `choose` gets the
    attached link and returns the link for the next connection: that one, or another to the same
    server. `log` numbers connections.
    """

    def __init__(
        self,
        forward: Forward,
        reactor: Reactor,
        on_failure: OnFailure,
        on_waiting: Callable[[], None] = lambda: None,
        profile: str = "",
        choose: Callable[[Link], Link] = lambda attached: attached,
        log: ConnectionLog | None = None,
    ) -> None:
        self.forward = forward
        self._choose = choose
        self._owner = f"{profile}/{forward.name}" if profile else ""
        self._reactor = reactor
        self._on_failure = on_failure
        self._on_waiting = on_waiting
        self.connections = Connections(
            reactor,
            ConnectionLog() if log is None else log,
            listening_here=True,
            profile=profile,
            name=forward.name,
            host=forward.via,
        )
        self._listener: Listener | None = None
        self._left: Listener | None = None  # whose file may not be removed yet
        self._link: Link | None = None
        self._waiting = Waiting(reactor, self._expired, self._gone)
        self._handshakes: set[ClientConnection] = set()  # of SOCKS clients
        self._why_away: Failure | None = None  # why there is no link
        self._hopeless = False

    @property
    def counters(self) -> Counters:
        """The bytes and connections so far."""
        return self.connections.counters

    @property
    def is_awaited(self) -> bool:
        """Whether a client waits for a link."""
        return bool(self._waiting)

    @property
    def listening(self) -> Endpoint | None:
        """The address with the real port; None while it does not listen."""
        return self._listener.endpoint if self._listener else None

    def open_quickly(self) -> bool:
        """Listen at once, if nothing can block; returns whether it does. See `open`."""
        self._listener = Listener.open_quickly(
            self._reactor, self.forward.listen, self._client, self._owner
        )
        return self._listener is not None

    async def open(self) -> None:
        """Listen. Clients wait for a link as `while_down` says. Cancelling leaves nothing open.

        Raises:
            Failure: port-in-use, permission-denied or name-not-found.
        """
        if self._left is not None:
            await self._left.closed()
        self._listener = await Listener.open(
            self._reactor, self.forward.listen, self._client, self._owner
        )

    @property
    def listener(self) -> Listener | None:
        """The listener; None while it does not listen."""
        return self._listener

    def release(self) -> Listener | None:
        """Give up the listener, which stays bound; its clients wait for the next owner."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.hold()
        return listener

    def adopt(self, listener: Listener) -> None:
        """Take over the listener of another forward; for clients see `open`."""
        self._listener = listener
        listener.serve(self._client)

    def withdraw(self) -> None:
        """Only stop listening: connections and waiting clients stay."""
        if self._listener is not None:
            self._listener.close()
            self._left, self._listener = self._listener, None

    def attach(self, link: Link) -> None:
        """Serve clients over this link from now on, waiting ones first."""
        self._link = link
        for connection, sock in self._waiting.take():
            self._serve(link, connection, sock)

    def away(self, why: Failure | None, *, hopeless: bool) -> None:
        """Set why there is no link. `hopeless`: no link that serves will come up by itself, so
        clients are reset at once."""
        self._why_away, self._hopeless = why, hopeless
        if hopeless:
            self._turn_all_away(Ending.REFUSED)

    def detach(self) -> None:
        """The link is gone. Its connections were reset; new clients wait."""
        self._link = None
        self._abort_handshakes(Ending.LINK_LOST)

    async def close(self, drain: float) -> None:
        """Stop listening, let connections end for `drain` seconds, then reset them."""
        self.withdraw()
        self._turn_all_away(Ending.CLOSED)
        self._abort_handshakes(Ending.CLOSED)
        if self._left is not None:
            await self._left.closed()
        await self.connections.close(drain)

    def cut(self) -> None:
        """Stop listening and reset every client now; `close` does the rest."""
        self.withdraw()
        self._turn_all_away(Ending.CLOSED)
        self._abort_handshakes(Ending.CLOSED)
        self.connections.cut()

    def _abort_handshakes(self, how: Ending) -> None:
        for connection in tuple(self._handshakes):
            connection.end_early(how)

    # Clients.

    def _client(self, sock: socket.socket, origin: Origin) -> None:
        full = self.counters.open >= self.forward.max_connections
        connection = self.connections.began(origin, sock, self.forward.target)
        if not self.forward.admits(origin[0]):
            failure = sentences.client_not_allowed(self.forward, origin[0])
            self._refuse(connection, sock, failure)
        elif full:
            self._refuse(connection, sock, sentences.too_many_connections(self.forward))
        elif self._link is not None and not self._link.connection.is_lost:
            self._serve(self._link, connection, sock)
        elif self.forward.while_down.hold > 0 and not self._hopeless:
            self._waiting.add(connection, sock, self.forward.while_down.hold)
            self._on_waiting()
        else:
            self._turn_away(connection, sock, Ending.REFUSED, self._why_away)
            self._on_waiting()

    def _serve(self, link: Link, connection: ClientConnection, sock: socket.socket) -> None:
        if self.forward.target is None:
            self._ask(link, connection, sock)
        else:
            self._open(self._choose(link), connection, sock, self.forward.target, None)

    def _ask(self, link: Link, connection: ClientConnection, sock: socket.socket) -> None:
        """Read the target from a SOCKS client."""

        def on_request(server: SocksServer) -> None:
            self._handshakes.discard(connection)
            connection.give_up = None
            connection.target = server.request
            assert server.request is not None
            assert self._link is not None  # `detach` ends the handshakes
            self._open(self._choose(self._link), connection, sock, server.request, server)

        def on_end(mistake: str) -> None:
            self._handshakes.discard(connection)
            failure = sentences.socks_failed(self.forward, mistake) if mistake else None
            how = Ending.REFUSED if mistake else Ending.LEFT
            self.connections.failed(connection, Code.HANDSHAKE_FAILED, how, failure)

        connection.link = link
        connection.give_up = SocksClient(self._reactor, sock, on_request, on_end).abort
        self._handshakes.add(connection)

    def _open(
        self,
        link: Link,
        connection: ClientConnection,
        sock: socket.socket,
        target: Endpoint,
        socks: SocksServer | None,
    ) -> None:
        def on_refused(reason: int, description: str) -> bytes:
            server = link.info.software
            failure = open_failure(self.forward, target, server, reason, description)
            self.connections.refused(connection, failure)
            self._on_failure(failure)
            return socks.reply(reply_for(reason, description)) if socks else b""

        relay = self.connections.relay(connection, link, sock, on_refused)
        kind, data = direct(target, (connection.host, connection.port))
        if socks is None:
            relay.open(kind, data)
        else:
            relay.open(kind, data, greeting=socks.reply(Reply.GRANTED), early=socks.rest)

    def _turn_away(
        self,
        connection: ClientConnection,
        sock: socket.socket,
        how: Ending,
        why: Failure | None = None,
        code: Code = Code.SESSION_LOST,
    ) -> None:
        reset(sock)
        self.connections.failed(connection, code, how, why)

    def _turn_all_away(self, how: Ending) -> None:
        why = self._why_away if how is Ending.REFUSED else None
        for connection, sock in self._waiting.take():
            self._turn_away(connection, sock, how, why)

    def _gone(self, connection: ClientConnection, sock: socket.socket) -> None:
        """A client left while it waited for the link."""
        self._turn_away(connection, sock, Ending.LEFT)

    def _expired(self, connection: ClientConnection, sock: socket.socket) -> None:
        failure = sentences.no_link_for_client(self.forward, self._why_away)
        self._refuse(connection, sock, failure)

    def _refuse(self, connection: ClientConnection, sock: socket.socket, failure: Failure) -> None:
        self._turn_away(connection, sock, Ending.REFUSED, failure, failure.code)
        self._on_failure(failure)
