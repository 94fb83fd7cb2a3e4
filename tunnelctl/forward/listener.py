"""Listening TCP sockets on this machine.

Owns the sockets that listen and the pause when the process is out of file descriptors. Must
never accept on an address that was not asked for, and never spin when accepting fails.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from tunnelctl.errors import Code, Failure
from tunnelctl.forward.relay import reset_when_killed
from tunnelctl.net.addresses import port_holder
from tunnelctl.net.reactor import READABLE, Reactor
from tunnelctl.spec.endpoint import Endpoint

# As many as wait while the loop is busy; the kernel caps it at net.core.somaxconn.
_BACKLOG = 1024
# Clients taken in a row before others get their turn.
_ACCEPTS_A_TURN = 64
_PAUSE_SECONDS = 0.5
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

# The client's socket, and its address for the server's log.
OnClient = Callable[[socket.socket, tuple[str, int]], None]


class Listener:
    """All sockets of one endpoint: `localhost` is both families, `*` every address.

    Raises:
        Failure: port-in-use with the process that holds it, or permission-denied.
    """

    def __init__(self, reactor: Reactor, endpoint: Endpoint, on_client: OnClient) -> None:
        self._doors: list[_Door] = []
        port = endpoint.port
        for family, address in _addresses(endpoint):
            try:
                door = _Door(reactor, _bind(family, address, port), on_client)
            except OSError as error:
                if self._doors and error.errno == errno.EADDRNOTAVAIL:
                    continue  # a machine without IPv6 has no ::1 to listen on
                self.close()
                raise _failure(endpoint, error) from None
            self._doors.append(door)
            port = door.port  # port 0 was chosen once; the other family follows
        self.endpoint = endpoint.with_port(port)

    def close(self) -> None:
        """Stop listening."""
        for door in self._doors:
            door.close()
        self._doors.clear()


def _addresses(endpoint: Endpoint) -> list[tuple[socket.AddressFamily, str]]:
    if endpoint.host == "localhost":
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    if endpoint.host == "*":
        return [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]  # noqa: S104 - asked for by name
    try:
        found = socket.getaddrinfo(endpoint.host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Failure(
            Code.NAME_NOT_FOUND,
            f"cannot listen on {endpoint}: {error.strerror}",
            "listen on an address of this machine",
            retryable=False,
            exit_code=73,
        ) from None
    unique = dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found)
    return list(unique)


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit both.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reset_when_killed(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _failure(endpoint: Endpoint, error: OSError) -> Failure:
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(endpoint.host, endpoint.port)
        return Failure(
            Code.PORT_IN_USE,
            f"{endpoint} is in use" + (f" by {holder}" if holder else ""),
            "stop that process, or choose another port in the profile",
        )
    hint = "ports below 1024 need root; choose a higher one" if 0 < endpoint.port < 1024 else ""
    return Failure(Code.PERMISSION_DENIED, f"cannot listen on {endpoint}: {error.strerror}", hint)


class _Door:
    """One listening socket."""

    def __init__(self, reactor: Reactor, sock: socket.socket, on_client: OnClient) -> None:
        self._reactor = reactor
        self._sock = sock
        self._on_client = on_client
        self._is_closed = False
        self.port = int(sock.getsockname()[1])
        reactor.register(sock.fileno(), self)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._reactor.unregister(self._sock.fileno())
            self._sock.close()

    def ready(self, events: int) -> None:
        if events & READABLE:
            self._accept()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            if self._is_closed:
                return
            try:
                client, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                self._reactor.expect_readable(self._sock.fileno())
                return
            except ConnectionAbortedError:
                continue  # the client left before it was let in
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._reactor.loop.call_later(_PAUSE_SECONDS, self._accept)
                    return
                raise
            client.setblocking(False)
            self._on_client(client, (address[0], address[1]))
        self._reactor.soon(self._accept)
