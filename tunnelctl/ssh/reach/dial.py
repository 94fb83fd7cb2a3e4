"""A TCP connection to a host: every address of its name, staggered, with one deadline.

Owns the socket until it is connected, and then hands it over non-blocking. Must never block the
loop (names are resolved in a thread) and never leave a socket behind, whichever attempt wins and
whenever the caller is cancelled.

The race between addresses follows RFC 8305 in a simple form: families alternate in the order of
getaddrinfo(3), and each attempt gets a head start of 250 ms.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import itertools
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

from tunnelctl import clock
from tunnelctl.net import servers
from tunnelctl.net.addresses import is_literal
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.endpoint import bracketed
from tunnelctl.spec.host import AddressFamily, Host
from tunnelctl.ssh import sentences
from tunnelctl.ssh.failures import dial_failure, resolve_failure
from tunnelctl.ssh.milestones import Milestone, Passed, Trace, untraced

# RFC 8305 section 5, "Connection Attempt Delay", in seconds.
HEAD_START = 0.25

_SocketAddress = tuple[str, int] | tuple[str, int, int, int]
_FAMILIES = {
    AddressFamily.ANY: socket.AF_UNSPEC,
    AddressFamily.INET: socket.AF_INET,
    AddressFamily.INET6: socket.AF_INET6,
}
# An entry of getaddrinfo(3): family, type, protocol, canonical name, sockaddr.
_AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, _SocketAddress]
_Sources = Mapping[socket.AddressFamily, _SocketAddress]


async def dial(host: Host, deadline: float, trace: Trace = untraced) -> socket.socket:
    """Connect to `host` before `deadline` (a moment of `clock.monotonic`).

    The socket is non-blocking, with TCP_NODELAY, SO_KEEPALIVE and a TCP_USER_TIMEOUT equal to the
    time after which a silent peer counts as gone. Cancelling leaves no socket.

    Raises:
        Failure: name-not-found, connection-refused, unreachable or timed-out; unreachable also
            where `bind_address` is not one of this machine.
    """
    doing = f"looking up {host.hostname}"
    race: _Race | None = None
    try:
        async with asyncio.timeout(max(0.0, deadline - clock.monotonic())):
            try:
                addresses = await _resolve(host.hostname, host.port, host.address_family)
            except (OSError, UnicodeError) as error:
                raise resolve_failure(host, error) from None
            trace(host, Milestone.NAMES, Passed(_listed(addresses)))
            race = _Race(_alternate(addresses), await _sources(host))
            sock = await race.run()
    except TimeoutError:
        if race is not None:
            doing = f"connecting to {', '.join(race.tried)}"
        raise sentences.no_answer(host, doing) from None
    if sock is None:
        raise dial_failure(host, race.errors)
    try:
        _tune(sock, host)
    except OSError as error:  # some systems refuse options of a connection that was reset
        sock.close()
        raise dial_failure(host, [(host.address, error)]) from None
    with suppress(OSError):  # reset already: what reads it will say so
        trace(host, Milestone.CONNECTION, Passed(_joined(sock.getpeername())))
    return sock


async def _resolve(hostname: str, port: int, wanted: AddressFamily) -> Sequence[_AddressInfo]:
    """getaddrinfo(3), for a name not on the loop."""
    look_up = functools.partial(_addresses, hostname, port, _FAMILIES[wanted])
    if is_literal(hostname):
        return look_up(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
    return await in_thread(functools.partial(look_up, 0), f"resolve {hostname}")


async def _sources(host: Host) -> _Sources | None:
    """The local address of connections, for each family; None lets the system choose."""
    if host.bind_address is None:
        return None
    try:
        found = await _resolve(host.bind_address, 0, host.address_family)
    except (OSError, UnicodeError):
        raise sentences.no_such_bind_address(host) from None
    return {family: to for family, _, _, _, to in reversed(found)}


def _addresses(hostname: str, port: int, family: int, flags: int) -> Sequence[_AddressInfo]:
    kind = socket.SOCK_STREAM
    found = socket.getaddrinfo(hostname, port, family=family, type=kind, flags=flags)
    # The stubs also allow (int, bytes), which only a build without IPv6 gives.
    return [(family, kind, proto, name, to) for family, kind, proto, name, to in found
            if isinstance(to[0], str)]  # fmt: skip


def _alternate(addresses: Sequence[_AddressInfo]) -> list[_AddressInfo]:
    """IPv6 and IPv4 alternating, the system's first choice first (RFC 8305 section 4)."""
    first = [a for a in addresses if a[0] == addresses[0][0]]
    others = [a for a in addresses if a[0] != addresses[0][0]]
    pairs = itertools.zip_longest(first, others)
    return [address for pair in pairs for address in pair if address is not None]


class _Race:
    """Attempts to connect, each started 250 ms after the last or as soon as that one failed."""

    def __init__(self, addresses: Sequence[_AddressInfo], sources: _Sources | None) -> None:
        self._waiting = list(addresses)
        self._sources = sources
        self._running: set[asyncio.Task[socket.socket]] = set()
        self.errors: list[tuple[str, OSError]] = []  # address:port, what connect(2) said
        self.tried: list[str] = []

    async def run(self) -> socket.socket | None:
        """The first socket that connects; None if every address failed (see `errors`)."""
        winner: socket.socket | None = None
        try:
            while winner is None and (self._waiting or self._running):
                if self._waiting:
                    self._start(self._waiting.pop(0))
                winner = await self._wait(HEAD_START if self._waiting else None)
        finally:
            losers = self._call_off()
        if losers:
            try:
                await asyncio.wait(losers)
            except asyncio.CancelledError:
                if winner is not None:
                    winner.close()
                raise
        return winner

    def _start(self, address: _AddressInfo) -> None:
        shown = _shown(address)
        servers.note(address[4][0])
        self.tried.append(shown)
        task = asyncio.get_running_loop().create_task(_connect(address, self._sources), name=shown)
        self._running.add(task)

    async def _wait(self, head_start: float | None) -> socket.socket | None:
        """Wait until one connects, all running ones failed, or the head start is over."""
        until = None if head_start is None else clock.monotonic() + head_start
        while self._running:
            left = None if until is None else max(0.0, until - clock.monotonic())
            done, _ = await asyncio.wait(
                self._running, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if task.exception() is None:
                    self._running.discard(task)
                    return task.result()
            for task in done:
                self._running.discard(task)
                error = task.exception()
                assert isinstance(error, OSError)
                self.errors.append((task.get_name(), error))
            if done and self._waiting:
                return None  # the next address need not wait after a failure
            if not done:
                return None
        return None

    def _call_off(self) -> set[asyncio.Task[socket.socket]]:
        """Close other sockets, cancel the rest; returns those that are still ending."""
        losers, self._running = self._running, set()
        for task in losers:
            if not task.done():
                task.cancel()
            elif task.exception() is None:
                task.result().close()
        return {task for task in losers if not task.done()}


async def _connect(address: _AddressInfo, sources: _Sources | None) -> socket.socket:
    family, kind, proto, _, to = address
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        if sources is not None:
            if family not in sources:
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
            sock.bind(sources[family])
        await asyncio.get_running_loop().sock_connect(sock, to)
        if _met_itself(sock):
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        sock.close()
        raise
    return sock


def _met_itself(sock: socket.socket) -> bool:
    """Whether TCP's simultaneous open connected the socket to itself.

    This happens on loopback if nothing listens and the port is in the ephemeral range: a reconnect
    loop eventually gets that port as its own.
    """
    with suppress(OSError):  # reset already: what reads it will say so
        return bool(sock.getsockname() == sock.getpeername())
    return False


def _tune(sock: socket.socket, host: Host) -> None:
    """Options of an SSH connection; set after connect, so that they do not shorten the attempt."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    patience = host.server_alive_interval * (host.server_alive_count_max + 1)
    if patience > 0 and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: tcp(7), milliseconds
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1000))


def _shown(address: _AddressInfo) -> str:
    return _joined(address[4])


def _listed(addresses: Sequence[_AddressInfo]) -> str:
    return ", ".join(dict.fromkeys(address[4][0] for address in addresses))


def _joined(to: Sequence[str | int]) -> str:
    host, port = str(to[0]), to[1]
    return f"{bracketed(host)}:{port}"
