"""Where a server really listens for a remote forward, which it need not say.

sshd_config(5) GatewayPorts overrules what a client asks for, and RFC 4254 has no word for that.
OpenSSH tells some of it in DEBUG messages before its reply (serverloop.c and channels.c); the rest
can be tried through the link. Must never fail a forward: it listens, only not as it was asked to.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable

from tunnelctl.errors import Code, Failure
from tunnelctl.forward.opens import direct
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.link import Link
from tunnelctl.wire.messages import OpenFailure

_TRY_SECONDS = 5.0
_EVERY_ADDRESS = ("*", "0.0.0.0", "::")  # noqa: S104 - only compared with
# Servers that say so when their configuration forbids a listener: another refusal is a failed bind.
_TELL_WHY = ("OpenSSH", "tunnelctl")
_HAS_GATEWAY_PORTS = _TELL_WHY
_FORBIDDEN = ("Server has disabled", "port forwarding refused")
_OVERRIDDEN = "Forwarding listen address"


def is_taken(link: Link, said: Iterable[str]) -> bool:
    """Whether a refusal means that the port cannot be had, not that it is forbidden; `said` is what
    the server told before it."""
    tells = link.info.server.startswith(_TELL_WHY)
    return tells and not any(text.startswith(_FORBIDDEN) for text in said)


def wider(forward: Forward, said: Iterable[str]) -> Failure | None:
    """What to tell of a listener that the server opened to the world on its own account."""
    if not any(text.startswith(_OVERRIDDEN) for text in said):
        return None
    return Failure(
        Code.FORWARD_DENIED,
        f"remote forward {forward.name}: {forward.via} listens on every address, though "
        f"{forward.listen.host} was asked for",
        "GatewayPorts yes in sshd_config there overrules it; clientspecified would not",
    )


async def narrower(forward: Forward, link: Link, port: int) -> Failure | None:
    """What to tell of a listener that should be reachable from elsewhere and is not.

    Has the server connect to its own address: a listener on its loopback alone refuses that. One
    that is reachable takes the connection, which ends at once. None also when it cannot be told.
    """
    if not link.info.server.startswith(_HAS_GATEWAY_PORTS):
        return None  # to some, a connection that they do not offer is a reason to leave
    address = _outer_address(forward.listen.host, link.info.address)
    if address is None or not await _refuses(link, Endpoint(address, port)):
        return None
    return Failure(
        Code.FORWARD_DENIED,
        f"remote forward {forward.name}: {forward.via} listens on its loopback alone, though "
        f"{forward.listen.host} was asked for",
        "GatewayPorts clientspecified in sshd_config there would allow it",
    )


def _outer_address(asked: str, peer: str) -> str | None:
    """The address of the server at which a listener on `asked` has to answer; `peer` is where we
    reached it, HOST:PORT."""
    if asked not in _EVERY_ADDRESS:
        return None if Endpoint(asked).is_loopback else asked
    host = peer.rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a name behind a jump host or proxy, which it may know as its loopback
        return None
    same_family = asked == "*" or ipaddress.ip_address(asked).version == address.version
    # These two are where a listener that was narrowed answers. The rest of 127.0.0.0/8 is not.
    return host if same_family and str(address) not in ("127.0.0.1", "::1") else None


async def _refuses(link: Link, target: Endpoint) -> bool:
    """Whether nobody listens on an address, as the server sees it."""
    answer = _Answer(link)
    channel = link.connection.open_channel(*direct(target, ("127.0.0.1", 0)), answer)
    try:
        async with asyncio.timeout(_TRY_SECONDS):
            return await answer.refused
    except TimeoutError:
        return False
    finally:
        channel.close()


class _Answer:
    """A channel of which only the opening matters (wire/channel.py, ChannelHandler)."""

    def __init__(self, link: Link) -> None:
        self.refused: asyncio.Future[bool] = link.reactor.loop.create_future()

    def _is(self, refused: bool) -> None:
        if not self.refused.done():
            self.refused.set_result(refused)

    def opened(self) -> None:
        self._is(False)

    def open_failed(self, reason: int, description: str) -> None:
        self._is(reason == OpenFailure.CONNECT_FAILED and "refused" in description.lower())

    def data(self, data: memoryview) -> None:
        """What the target says is not for us."""

    def eof(self) -> None:
        """Nor is its end."""

    def closed(self) -> None:
        self._is(False)

    def window_opened(self) -> None:
        """Nothing is sent."""
