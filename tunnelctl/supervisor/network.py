"""Moments at which to try again at once: the network has changed, or this machine was asleep.

Owns a netlink socket (netlink(7), rtnetlink(7)) and a timer. Must never call for what is no change:
an address whose lifetime is renewed, a link that came and went within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
import sys
from collections.abc import Callable, Iterator

from tunnelctl import clock

_log = logging.getLogger(__name__)

# What the network is, as far as it matters here: usable addresses and default routes.
Network = frozenset[tuple[int | bytes, ...]]
OnMoment = Callable[[str], None]

_SETTLED_AFTER = 1.0  # seconds from the first message to a look: changes come in bursts
_LOOK_EVERY = 2.0  # seconds between two looks at the clocks
_ASLEEP = 1.0  # seconds that the clocks may differ by without a suspend
_STALLED = 5.0  # seconds without a look: this process was stopped, or the machine with it

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
_MAIN_TABLE, _UNICAST = 254, 1
_IFA_ADDRESS, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_DUMP_BYTES = 1 << 16
_DUMP_WITHIN = 2.0  # seconds; the kernel answers at once


class NetworkWatch:
    """Calls `on_change` with a reason when the network became another one, until `close`.

    `look` and `settled_after` (seconds) are for tests. Where there is no netlink it does nothing.
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
        self._socket: socket.socket | None = None
        self._seen: Network = frozenset()
        try:
            self._socket = _open(_GROUPS)
            if self._socket is not None:
                self._seen = self._look()
                self._loop.add_reader(self._socket, self._told)
        except OSError as error:
            _log.warning("changes of the network are not noticed: %s", error.strerror or error)
            self.close()

    def close(self) -> None:
        """Watch no longer. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _told(self) -> None:
        """Something changed; what, is looked up once it is quiet, so lost messages do no harm."""
        assert self._socket is not None
        while True:
            try:
                self._socket.recv(_DUMP_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # it came faster than we read
                    raise
        if self._timer is None:
            self._timer = self._loop.call_later(self._settled_after, self._settled)

    def _settled(self) -> None:
        self._timer = None
        try:
            now = self._look()
        except OSError as error:
            _log.warning("cannot see the network: %s", error.strerror or error)
            return
        if now != self._seen:
            self._seen = now
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
        """Watch no longer. Idempotent."""
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
    """The addresses that can be used, on links that are up, and the default routes.

    Raises:
        OSError: the kernel does not say.
    """
    sock = _open(0)
    if sock is None:
        return frozenset()
    with sock:
        sock.settimeout(_DUMP_WITHIN)
        up = {
            index
            for body in _dump(sock, _GET_LINK)
            for _, _, index, flags, _ in [_LINK.unpack_from(body)]
            if flags & _LOWER_UP
        }
        addresses = [found for body in _dump(sock, _GET_ADDRESS) for found in _address(body, up)]
        routes = [found for body in _dump(sock, _GET_ROUTE) for found in _route(body)]
    return frozenset((*addresses, *routes))


def _address(body: bytes, up: set[int]) -> Iterator[tuple[int | bytes, ...]]:
    family, length, flags, scope, index = _ADDRESS.unpack_from(body)
    # One that is still being checked for duplicates counts once it can be used (RFC 4862, 5.4).
    if index in up and scope == _UNIVERSE and not flags & _TENTATIVE:
        yield (_GET_ADDRESS, family, length, index, _attribute(body, _ADDRESS, _IFA_ADDRESS))


def _route(body: bytes) -> Iterator[tuple[int | bytes, ...]]:
    family, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
    if length == 0 and table == _MAIN_TABLE and kind == _UNICAST:
        link = _attribute(body, _ROUTE, _RTA_OIF)
        yield (_GET_ROUTE, family, link, _attribute(body, _ROUTE, _RTA_GATEWAY))


def _attribute(body: bytes, head: struct.Struct, wanted: int) -> bytes:
    """The value of one attribute; empty when it is not there."""
    at = head.size
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            break
        if kind == wanted:
            return body[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return b""


def _dump(sock: socket.socket, request: int) -> Iterator[bytes]:
    """The body of every message that answers a request for all links, addresses or routes."""
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
    """Messages and attributes begin at multiples of four."""
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
