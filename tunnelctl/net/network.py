"""Reasons to reconnect at once: the network changed, or this machine was suspended.

Owns a netlink socket (netlink(7), rtnetlink(7)) and a timer. Must never report what does not
matter: an address whose lifetime is renewed, a link that was down for less than a second, a route
to where we have no server. Must never block the loop: a router has many routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.net import servers
from tunnelctl.net.threads import in_thread
from tunnelctl.quick_dataclass import dataclass

_log = logging.getLogger(__name__)

OnMoment = Callable[[str], None]

_SETTLED_AFTER = 1.0  # seconds from the first message to a look, because changes come in bursts
_LOOK_EVERY = 2.0  # seconds between two looks at the clocks
_ASLEEP = 1.0  # seconds that the clocks may differ without a suspend
_STALLED = 5.0  # seconds without a look that mean that this process, or the machine, was stopped

# linux/rtnetlink.h, linux/netlink.h, linux/if_addr.h, linux/if.h
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # links; IPv4 and IPv6 addresses and routes
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_REQUEST_DUMP = 0x1 | 0x300
_ERROR, _DONE = 2, 3
_GET_LINK, _GET_ADDRESS, _GET_ROUTE = 18, 22, 26
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, lengths, tos, table, protocol, scope, type
_LOWER_UP = 0x10000
_TENTATIVE = 0x40
_UNIVERSE = 0
_LOCAL_TABLE = 255
_RTM_F_CLONED = 0x200  # an exception that was learned, such as a path's MTU
_LOCAL_KINDS = frozenset({2, 3, 4, 5})  # RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST
_IFA_ADDRESS, _RTA_DST = 1, 1
# RTA_OIF, RTA_GATEWAY, RTA_PRIORITY (the metric), RTA_PREFSRC, RTA_MULTIPATH, RTA_TABLE, RTA_VIA,
# RTA_PREF, RTA_NH_ID: the way of a packet. The lifetime of the route is not among them.
_RTA_WAY = frozenset({4, 5, 6, 7, 9, 15, 18, 20, 30})
_DUMP_BYTES = 1 << 16
_DUMP_WITHIN = 2.0  # seconds; the kernel answers at once
_MOST_ROUTES = 20_000  # of a router's hundreds of thousands, the first ones


@dataclass(frozen=True, slots=True)
class NetworkRoute:
    """A route other than those to this machine's own addresses.

    `way` has its kind, metric, link and gateways, as the kernel encodes them.
    """

    family: int
    length: int
    destination: bytes
    way: tuple[int | bytes, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """The usable addresses, on links that are up, and every route."""

    addresses: frozenset[tuple[int | bytes, ...]] = frozenset()
    routes: frozenset[NetworkRoute] = frozenset()

    def differs(self, other: Network, to: Iterable[str]) -> bool:
        """Whether it differs from `other` for connections to these addresses."""
        if self.addresses != other.addresses:
            return True
        changed = self.routes ^ other.routes
        # A packet may take a default route anywhere.
        if any(route.length == 0 for route in changed):
            return True
        packed = [ipaddress.ip_address(address.partition("%")[0]).packed for address in to]
        shapes = {(len(route.destination), route.length) for route in changed}
        around = {
            (_network(address, length), length)
            for size, length in shapes
            for address in packed
            if len(address) == size
        }
        return any((route.destination, route.length) in around for route in changed)


def _network(address: bytes, length: int) -> bytes:
    """The network with so many bits that contains an address, in the form of a route."""
    beyond = 8 * len(address) - length
    return (int.from_bytes(address, "big") >> beyond << beyond).to_bytes(len(address), "big")


class NetworkWatch:
    """Calls `on_change` with a reason when the network changed, until `close`.

    `look` and `settled_after` (seconds) are for tests. Without netlink it does nothing.
    """

    def __init__(
        self,
        on_change: OnMoment,
        *,
        look: Callable[[], Network] | None = None,
        settled_after: float = _SETTLED_AFTER,
    ) -> None:
        self._on_change = on_change
        self._look = look or read_network
        self._settled_after = settled_after
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Future[Network] | None = None
        self._socket: socket.socket | None = None
        self._seen = Network()
        try:
            self._socket = _open(_GROUPS)
            if self._socket is not None:
                self._seen = self._look()
                self._loop.add_reader(self._socket, self._told)
        except OSError as error:
            _log.warning("changes of the network cannot be detected: %s", error.strerror or error)
            self.close()

    def close(self) -> None:
        """Stop watching. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._looking is not None:
            self._looking.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _told(self) -> None:
        """Something changed; the details are looked up once it is quiet, so lost messages do no
        harm."""
        assert self._socket is not None
        while True:
            try:
                self._socket.recv(_DUMP_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # messages came faster than we read
                    raise
        if self._timer is None:
            self._timer = self._loop.call_later(self._settled_after, self._settled)

    def _settled(self) -> None:
        self._timer = None
        if self._looking is not None:  # the kernel takes its time
            self._timer = self._loop.call_later(self._settled_after, self._settled)
            return
        try:
            self._looking = in_thread(self._look, "look at the network")
        except Failure as failure:
            _log.warning("cannot monitor the network: %s", failure)
            return
        self._looking.add_done_callback(self._looked)

    def _looked(self, looking: asyncio.Future[Network]) -> None:
        self._looking = None
        if looking.cancelled():  # closed meanwhile
            return
        error = looking.exception()
        if error is not None:
            _log.warning("cannot monitor the network: %s", error)
            return
        before, self._seen = self._seen, looking.result()
        if self._seen.differs(before, servers.addresses()):
            self._on_change("the network has changed")


class ResumeWatch:
    """Calls `on_resume` with a reason after a suspend or a long stop, until `close`.

    The clocks and `look_every` (seconds) are for tests.
    """

    def __init__(
        self,
        on_resume: OnMoment,
        *,
        monotonic: Callable[[], float] = clock.monotonic,
        boottime: Callable[[], float] = clock.boottime,
        look_every: float = _LOOK_EVERY,
    ) -> None:
        self._on_resume = on_resume
        self._monotonic = monotonic
        self._boottime = boottime
        self._look_every = look_every
        self._loop = asyncio.get_running_loop()
        self._last = (monotonic(), boottime())
        self._timer = self._loop.call_later(look_every, self._look)

    def close(self) -> None:
        """Stop watching. Idempotent."""
        self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._look_every, self._look)
        (awake_before, before), (awake, now) = self._last, (self._monotonic(), self._boottime())
        self._last = (awake, now)
        awake_for, passed = awake - awake_before, now - before
        if passed - awake_for > _ASLEEP:
            self._on_resume(f"the machine was asleep for {passed - awake_for:.0f} s")
        elif awake_for > self._look_every + _STALLED:
            self._on_resume(f"this process was stopped for {awake_for:.0f} s")


def read_network() -> Network:
    """The network as it is now.

    Raises:
        OSError: the kernel does not say.
    """
    sock = _open(0)
    if sock is None:
        return Network()
    with sock:
        sock.settimeout(_DUMP_WITHIN)
        up = {
            index
            for body in _dump(sock, _GET_LINK)
            for _, _, index, flags, _ in [_LINK.unpack_from(body)]
            if flags & _LOWER_UP
        }
        addresses = [found for body in _dump(sock, _GET_ADDRESS) for found in _address(body, up)]
        routes = (found for body in _dump(sock, _GET_ROUTE) for found in _route(body))
        return Network(frozenset(addresses), frozenset(islice(routes, _MOST_ROUTES)))


def _address(body: bytes, up: set[int]) -> Iterator[tuple[int | bytes, ...]]:
    family, length, flags, scope, index = _ADDRESS.unpack_from(body)
    # An address that is still being checked for duplicates counts once it is usable (RFC 4862,
    # 5.4).
    if index in up and scope == _UNIVERSE and not flags & _TENTATIVE:
        address = dict(_attributes(body, _ADDRESS)).get(_IFA_ADDRESS, b"")
        yield (family, length, index, address)


def _route(body: bytes) -> Iterator[NetworkRoute]:
    family, length, _, _, table, _, _, kind, flags = _ROUTE.unpack_from(body)
    if table == _LOCAL_TABLE or kind in _LOCAL_KINDS or flags & _RTM_F_CLONED:
        return
    attributes = dict(_attributes(body, _ROUTE))
    way = (part for pair in sorted(attributes.items()) if pair[0] in _RTA_WAY for part in pair)
    yield NetworkRoute(family, length, attributes.get(_RTA_DST, b""), (table, kind, *way))


def _attributes(body: bytes, head: struct.Struct) -> Iterator[tuple[int, bytes]]:
    """The type and the value of each attribute after the header."""
    at = head.size
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            break
        yield kind, body[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _dump(sock: socket.socket, request: int) -> Iterator[bytes]:
    """The body of every message in the answer to a request for all links, addresses or routes."""
    family = struct.pack("=Bxxx", socket.AF_UNSPEC)
    sock.send(_HEADER.pack(_HEADER.size + len(family), request, _REQUEST_DUMP, request, 0) + family)
    while True:
        data, at = sock.recv(_DUMP_BYTES), 0
        while at + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            if kind == _DONE:
                return
            if kind == _ERROR or length < _HEADER.size:
                raise OSError(errno.EPROTO, "netlink refuses to tell")
            yield data[at + _HEADER.size : at + length]
            at += _aligned(length)


def _aligned(length: int) -> int:
    """Messages and attributes begin at multiples of four bytes."""
    return (length + 3) & ~3


def _open(groups: int) -> socket.socket | None:
    if sys.platform != "linux":
        return None
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        sock.bind((0, groups))
        undo.pop_all()
    return sock
