"""Clients that came while there was no link, in order.

Owns their sockets until somebody takes them, their time expires, or they leave. Must never read
from one: its bytes are for its target.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tunnelctl import clock
from tunnelctl.forward.client_connections import ClientConnection
from tunnelctl.net.endings import probe_often
from tunnelctl.net.reactor import GONE, HANGUP, Reactor

OnLeft = Callable[[ClientConnection, socket.socket], None]


class Waiting:
    """For one forward. `on_expired` and `on_gone` get a client whose time expired, or that left,
    and its socket, to close it."""

    def __init__(self, reactor: Reactor, on_expired: OnLeft, on_gone: OnLeft) -> None:
        self._reactor = reactor
        self._on_expired = on_expired
        self._on_gone = on_gone
        self._clients: dict[int, _Client] = {}  # by descriptor, in the order in which they came
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        """Whether a client waits."""
        return bool(self._clients)

    def add(self, connection: ClientConnection, sock: socket.socket, seconds: float) -> None:
        """Let a client wait for up to `seconds`."""
        client = _Client(connection, sock, clock.monotonic() + seconds, self._leaves)
        connection.give_up = client.leave
        self._clients[sock.fileno()] = client
        self._reactor.register(sock.fileno(), client)
        self._arm()

    def take(self) -> Iterator[tuple[ClientConnection, socket.socket]]:
        """All waiting clients, in order; they belong to the caller then."""
        for client in tuple(self._clients.values()):
            if self._clients.get(client.sock.fileno()) is client:
                self._remove(client)
                client.connection.give_up = None
                yield client.connection, client.sock

    def _remove(self, client: _Client) -> None:
        del self._clients[client.sock.fileno()]
        self._reactor.unregister(client.sock.fileno())
        if not self._clients and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leaves(self, client: _Client) -> None:
        self._remove(client)
        self._on_gone(client.connection, client.sock)

    def _arm(self) -> None:
        """One timer, for the client that has waited longest."""
        if self._timer is None and self._clients:
            first = next(iter(self._clients.values()))
            wait = max(0.0, first.until - clock.monotonic())
            self._timer = self._reactor.loop.call_later(wait, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = clock.monotonic()
        for client in tuple(self._clients.values()):
            if client.until > now:
                break
            self._remove(client)
            self._on_expired(client.connection, client.sock)
        self._arm()


@dataclass(eq=False, slots=True)
class _Client:
    """A Handler for the socket of a waiting client."""

    connection: ClientConnection
    sock: socket.socket
    until: float
    leaves: Callable[[_Client], None]

    def ready(self, events: int) -> None:
        """See reactor.Handler. A client that has shut down its sending side still waits for its
        answer."""
        if events & GONE:
            self.leave()
        elif events & HANGUP:
            probe_often(self.sock)

    def leave(self) -> None:
        """It does not wait any longer."""
        self.leaves(self)
