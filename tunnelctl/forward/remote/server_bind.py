"""Finds the address on which a server listens for a remote forward, which it need not report.

sshd_config(5) GatewayPorts overrides the request, and RFC 4254 has no message for that. OpenSSH
reports a part in DEBUG messages before its reply (serverloop.c and channels.c); the rest can be
tested over the link. Must never fail a forward because of another address, unless something else
listens there.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable
from enum import Enum, auto

from tunnelctl.errors import Failure
from tunnelctl.forward import sentences
from tunnelctl.forward.channel_requests import Origin, direct
from tunnelctl.spec.endpoint import ANY_ADDRESS, LOCALHOST, LOOPBACK, LOOPBACKS, WILDCARDS, Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.server_debug import LISTENS_ELSEWHERE
from tunnelctl.wire.channel import ChannelHandler
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure
from tunnelctl.wire.refusals import Refusal, refusal

_TRY_SECONDS = 5.0
# sshd accepts the clients of a port one by one, so ours may wait behind others.
_TURN_SECONDS = 1.0
# The message of OpenSSH if its configuration forbids a listener; any other refusal is a failed
# bind.
_FORBIDDEN = ("Server has disabled", "port forwarding refused")


def is_taken(link: Link, said: Iterable[str]) -> bool:
    """Whether a refusal means that the port is in use, not that it is forbidden; `said` are the
    server's messages before it."""
    tells = link.info.software.is_openssh or link.info.software.is_tunnelctl
    return tells and not any(text.startswith(_FORBIDDEN) for text in said)


def wider(forward: Forward, said: Iterable[str]) -> Failure | None:
    """The caveat for a listener that the server opened to other machines without being asked."""
    if not any(text.startswith(LISTENS_ELSEWHERE) for text in said):
        return None
    return sentences.listens_on_all(forward)


async def narrower(forward: Forward, link: Link, port: int) -> Failure | None:
    """The caveat for a listener that should be reachable from other machines and is not.

    The server is asked to connect to its own address, which a listener on its loopback only
    refuses. A reachable one accepts the connection, which is closed at once. None also if it cannot
    be tested.
    """
    software = link.info.software
    if not software.bears_refusals:
        return None
    address = _outer_address(forward.listen.host, link.info.address)
    if address is None or not await _refuses(link, Endpoint(address, port)):
        return None
    return sentences.listens_on_loopback(forward, software.widens)


def _outer_address(asked: str, peer: str) -> str | None:
    """The address of the server at which a listener on `asked` must answer; `peer` is where we
    reached it, HOST:PORT."""
    if asked != ANY_ADDRESS and asked not in WILDCARDS:
        return None if Endpoint(asked).is_loopback else asked
    host = peer.rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    # A name behind a jump host or proxy, which the server may resolve to its loopback.
    except ValueError:
        return None
    same_family = asked == ANY_ADDRESS or ipaddress.ip_address(asked).version == address.version
    # A narrowed listener answers on these two, but not on the rest of 127.0.0.0/8.
    return host if same_family and str(address) not in ("127.0.0.1", "::1") else None


def _inner_address(asked: str) -> str | None:
    """The loopback address of the server at which a listener on `asked` must answer, also where
    GatewayPorts changed it."""
    if asked in (LOCALHOST, LOOPBACK, ANY_ADDRESS, WILDCARDS[0]):
        return "127.0.0.1"
    return LOOPBACKS[1] if asked in (LOOPBACKS[1], WILDCARDS[1]) else None


# A channel that the server wants to open, and the originator of its client.
Client = tuple[IncomingOpen, Origin]


class Ownership:
    """Whether our listener is the one at the server's loopback, on a port that it gave us.

    sshd binds whichever of 127.0.0.1 and ::1 is free, and reports success if one of them was
    (channels.c, channel_setup_fwd_listener_tcpip), so clients of the other one reach another
    program. The server is therefore asked to connect there, which must come back to us. Nothing is
    sent, and the target is not involved.
    """

    def __init__(self, link: Link, listen: Endpoint) -> None:
        self._link = link
        self._came: list[Client] = []
        self._one_came = asyncio.Event()
        self._is_made = False
        address = None if listen.is_unix else _inner_address(listen.host)
        tells = address is not None and link.info.software.is_openssh
        self._place = Endpoint(address, listen.port) if address and tells else None

    def holds(self, incoming: IncomingOpen, origin: Origin) -> bool:
        """Whether a client may be our own test, and so waits until `is_anothers` is known."""
        if self._place is None or origin[0] != self._place.host:
            return False
        self._came.append((incoming, origin))
        self._one_came.set()
        return True

    async def is_anothers(self) -> bool:
        """Whether another program answers there; also False if that cannot be tested."""
        if self._place is None:
            return False
        answer = _Answer(self._link)
        connection = self._link.connection
        channel = connection.open_channel(*direct(self._place, ("127.0.0.1", 0)), answer)
        try:
            async with asyncio.timeout(_TRY_SECONDS):
                if await answer.outcome is not _Outcome.OPENED:
                    return False
                self._is_made = True
                await self._round_trip()
        except TimeoutError:
            return False
        else:
            return not await self._came_back()
        finally:
            channel.close()

    def clients(self) -> list[Client]:
        """The clients that were held and are to be served, without our own test."""
        if not self._is_made or len(self._came) != 1:
            return self._came  # if ours is among them, it ends by itself
        self._came[0][0].reject(OpenFailure.CONNECT_FAILED, "it only asked who listens there")
        return []

    async def _came_back(self) -> bool:
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._one_came.wait()
        except TimeoutError:
            return self._link.closed.done()  # then it cannot be told apart
        return True

    async def _round_trip(self) -> None:
        """Wait until the server has sent what it sends when the connection is made."""
        await self._link.ask("keepalive@openssh.com", b"", lambda _reply: None)


async def _refuses(link: Link, target: Endpoint) -> bool:
    """Whether nothing listens on an address, as the server sees it."""
    answer = _Answer(link)
    channel = link.connection.open_channel(*direct(target, ("127.0.0.1", 0)), answer)
    try:
        async with asyncio.timeout(_TRY_SECONDS):
            return await answer.outcome is _Outcome.REFUSED
    except TimeoutError:
        return False
    finally:
        channel.close()


class _Outcome(Enum):
    OPENED = auto()
    REFUSED = auto()  # by the target
    UNKNOWN = auto()


class _Answer(ChannelHandler):
    """A channel of which only the opening matters; data from the target is ignored."""

    def __init__(self, link: Link) -> None:
        self.outcome: asyncio.Future[_Outcome] = link.reactor.loop.create_future()

    def _is(self, outcome: _Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def opened(self) -> None:
        self._is(_Outcome.OPENED)

    def open_failed(self, reason: int, description: str) -> None:
        refused = refusal(reason, description) is Refusal.REFUSED
        self._is(_Outcome.REFUSED if refused else _Outcome.UNKNOWN)

    def closed(self) -> None:
        self._is(_Outcome.UNKNOWN)
