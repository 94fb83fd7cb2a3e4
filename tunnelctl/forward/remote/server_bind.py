"""Where a server really listens for a remote forward, which it need not say.

sshd_config(5) GatewayPorts overrules what a client asks for, and RFC 4254 has no word for that.
OpenSSH tells some of it in DEBUG messages before its reply (serverloop.c and channels.c); the rest
can be tried through the link. Must never fail a forward for listening otherwise than it was asked
to, unless that is where somebody else listens.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable
from enum import Enum, auto

from tunnelctl.errors import Failure
from tunnelctl.forward import sentences
from tunnelctl.forward.requests import Origin, direct
from tunnelctl.spec.endpoint import ANY_ADDRESS, WILDCARDS, Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.link.link import Link
from tunnelctl.wire.channel import ChannelHandler
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure
from tunnelctl.wire.refusals import Refusal, refusal

_TRY_SECONDS = 5.0
# sshd takes the clients of a port one by one: ours may stand behind others.
_TURN_SECONDS = 1.0
# What OpenSSH says where its configuration forbids a listener: another refusal is a failed bind.
_FORBIDDEN = ("Server has disabled", "port forwarding refused")
_OVERRIDDEN = "Forwarding listen address"


def is_taken(link: Link, said: Iterable[str]) -> bool:
    """Whether a refusal means that the port cannot be had, not that it is forbidden; `said` is what
    the server told before it."""
    tells = link.info.software.is_openssh or link.info.software.is_tunnelctl
    return tells and not any(text.startswith(_FORBIDDEN) for text in said)


def wider(forward: Forward, said: Iterable[str]) -> Failure | None:
    """What to tell of a listener that the server opened to the world on its own account."""
    if not any(text.startswith(_OVERRIDDEN) for text in said):
        return None
    return sentences.listens_on_all(forward)


async def narrower(forward: Forward, link: Link, port: int) -> Failure | None:
    """What to tell of a listener that should be reachable from elsewhere and is not.

    Has the server connect to its own address: a listener on its loopback alone refuses that. One
    that is reachable takes the connection, which ends at once. None also when it cannot be told.
    """
    software = link.info.software
    if not software.bears_refusals:
        return None
    address = _outer_address(forward.listen.host, link.info.address)
    if address is None or not await _refuses(link, Endpoint(address, port)):
        return None
    return sentences.listens_on_loopback(forward, software.widens)


def _outer_address(asked: str, peer: str) -> str | None:
    """The address of the server at which a listener on `asked` has to answer; `peer` is where we
    reached it, HOST:PORT."""
    if asked != ANY_ADDRESS and asked not in WILDCARDS:
        return None if Endpoint(asked).is_loopback else asked
    host = peer.rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a name behind a jump host or proxy, which it may know as its loopback
        return None
    same_family = asked == "*" or ipaddress.ip_address(asked).version == address.version
    # These two are where a listener that was narrowed answers. The rest of 127.0.0.0/8 is not.
    return host if same_family and str(address) not in ("127.0.0.1", "::1") else None


def _inner_address(asked: str) -> str | None:
    """The loopback address of the server at which a listener on `asked` has to answer, also where
    GatewayPorts made it another one."""
    if asked in ("localhost", "127.0.0.1", "*", "0.0.0.0"):  # noqa: S104 - only compared with
        return "127.0.0.1"
    return "::1" if asked in ("::1", "::") else None


# A channel that the server wants to open, and where its client comes from.
Client = tuple[IncomingOpen, Origin]


class Ownership:
    """Whether it is our listener that answers at the server's loopback, on a port it gave us.

    sshd binds what is free of 127.0.0.1 and ::1, and says yes when one of them was (channels.c,
    channel_setup_fwd_listener_tcpip): clients of the other one get to a stranger. So the server is
    to connect there, which has to come back to us. Nothing is sent, and the target hears nothing.
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
        """Whether a client may be our own, and so waits until `is_anothers` is known."""
        if self._place is None or origin[0] != self._place.host:
            return False
        self._came.append((incoming, origin))
        self._one_came.set()
        return True

    async def is_anothers(self) -> bool:
        """Whether a stranger answers there; also False where that cannot be told."""
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
        """Those who were held and are to be served. One alone is our own, which is not."""
        if not self._is_made or len(self._came) != 1:
            return self._came  # if ours is among them, it ends by itself
        self._came[0][0].reject(OpenFailure.CONNECT_FAILED, "it only asked who listens there")
        return []

    async def _came_back(self) -> bool:
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._one_came.wait()
        except TimeoutError:
            return self._link.closed.done()  # then it cannot be told
        return True

    async def _round_trip(self) -> None:
        """Until the server has sent what it had to send when the connection was made."""
        await self._link.ask("keepalive@openssh.com", b"", lambda _reply: None)


async def _refuses(link: Link, target: Endpoint) -> bool:
    """Whether nobody listens on an address, as the server sees it."""
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
    """A channel of which only the opening matters: what the target says is not for us."""

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
