"""Connections to targets on this side, for a remote forward or the embedded server.

Owns the connecting; the relay owns the socket afterwards. Must never block on name resolution, and
never leave a socket behind when it fails.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
from collections.abc import Callable, Coroutine, Iterable

from tunnelctl.errors import Code, Failure
from tunnelctl.forward.channel_requests import reason_of
from tunnelctl.forward.client_connections import ClientConnection, Connections
from tunnelctl.net.addresses import is_literal
from tunnelctl.net.endings import reset, reset_when_killed
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.record import Ending
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure

_CONNECT_SECONDS = 15.0


async def resolve(target: Endpoint) -> list[Endpoint]:
    """The addresses of a target, in the order in which to try them.

    Raises:
        OSError: the name has none.
    """
    try:
        if is_literal(target.host):
            return [target]
        return await in_thread(functools.partial(_look_up, target), f"resolve {target.host}")
    except UnicodeError:  # a label that is empty, or longer than 63 bytes
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
    except Failure as failure:
        raise OSError(errno.EAGAIN, failure.message) from None


def _look_up(target: Endpoint) -> list[Endpoint]:
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return [Endpoint(str(address[0]), target.port) for _, _, _, _, address in found]


async def connect_target(loop: asyncio.AbstractEventLoop, target: Endpoint) -> socket.socket:
    """A connected, non-blocking socket; every address of a name is tried in order.

    Raises:
        OSError: of the last address tried, or of the name.
    """
    if target.is_unix:
        return await _connect(loop, socket.AF_UNIX, target.path)
    return await connect_first(loop, await resolve(target))


async def connect_first(
    loop: asyncio.AbstractEventLoop, addresses: Iterable[Endpoint]
) -> socket.socket:
    """As connect_target, to the first of these addresses that answers.

    Raises:
        OSError: of the last one.
    """
    last: OSError = OSError(errno.EADDRNOTAVAIL, "no address")
    for address in addresses:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        try:
            return await _connect(loop, family, (address.host, address.port))
        except OSError as error:  # TimeoutError is one
            last = error
    raise last


async def _connect(
    loop: asyncio.AbstractEventLoop, family: int, address: str | tuple[str, int]
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reset_when_killed(sock)
        async with asyncio.timeout(_CONNECT_SECONDS):
            await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


class TargetSide:
    """Channels that the peer opens, each connected to a target on this side.

    The target is connected first and the channel confirmed afterwards, so that the far client sees
    a refusal (as in OpenSSH, channels.c).
    """

    def __init__(self, reactor: Reactor, connections: Connections) -> None:
        self._reactor = reactor
        self._connections = connections
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(
        self,
        connection: ClientConnection,
        link: Link,
        incoming: IncomingOpen,
        target: Endpoint,
        on_unreachable: Callable[[ClientConnection, OSError], None],
    ) -> None:
        """Connect to `target` for a client, and relay.

        `on_unreachable` ends the connection if its target cannot be connected to.
        """
        connection.link, connection.target = link, target
        work = self._serve(connection, link, incoming, on_unreachable)
        self.spawn(connection, work, f"dial target {target}")

    def spawn(
        self, connection: ClientConnection, work: Coroutine[None, None, None], name: str
    ) -> None:
        """Run the connecting for one client; `close` cancels it."""
        task = self._reactor.loop.create_task(work, name=name)
        connection.give_up = lambda: _cancel(task)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled() and not connection.until:  # before `work` had begun
                self._connections.failed(connection, Code.SESSION_LOST, Ending.CLOSED)

        task.add_done_callback(ended)

    async def connect(self, addresses: Iterable[Endpoint]) -> socket.socket:
        """See connect_first."""
        return await connect_first(self._reactor.loop, addresses)

    async def close(self, drain: float) -> None:
        """Stop connecting, let connections end for `drain` seconds, then reset them."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connections.close(drain)

    async def _serve(
        self,
        connection: ClientConnection,
        link: Link,
        incoming: IncomingOpen,
        on_unreachable: Callable[[ClientConnection, OSError], None],
    ) -> None:
        assert connection.target is not None
        try:
            sock = await connect_target(self._reactor.loop, connection.target)
        except OSError as error:
            incoming.reject(OpenFailure.CONNECT_FAILED, reason_of(error))
            on_unreachable(connection, error)
        except asyncio.CancelledError:
            incoming.reject(OpenFailure.ADMINISTRATIVELY_PROHIBITED, "the forward was closed")
            self._connections.failed(connection, Code.SESSION_LOST, Ending.CLOSED)
            raise
        else:
            if incoming.answered:  # its link was lost meanwhile
                reset(sock)
                self._connections.failed(connection, Code.SESSION_LOST, Ending.LINK_LOST)
            else:
                self._connections.relay(connection, link, sock).accept(incoming)


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
