"""Who listens where on this machine.

Reads /proc (proc(5), proc_net(5)): on another system, or for a process of another user, the answer
is that nothing is known. Opens no socket.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_LISTEN = "0A"  # TCP_LISTEN in include/net/tcp_states.h of Linux
_MAPPED_PREFIX = ipaddress.ip_network("::ffff:0:0/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def port_holder(host: str, port: int) -> str | None:
    """Who keeps `host:port` from being bound, e.g. `pid 911 (postgres)`; None when unknown.

    `host` is an address, `localhost`, or `*` for all addresses; another name matches any address.
    """
    wanted = _addresses_of(host)
    inodes = {
        inode
        for address, bound, inode in _listeners()
        if bound == port and _collides(address, wanted)
    }
    if not inodes:
        return None
    return _process_with({f"socket:[{inode}]" for inode in inodes})


def collide(one: str, other: str) -> bool:
    """Whether a port cannot be bound at both hosts, which are written as for `port_holder`."""
    first, second = _addresses_of(one), _addresses_of(other)
    return not first or not second or bool(set(first) & set(second))


def listened_on(port: int) -> tuple[str, ...]:
    """The addresses of this machine at which somebody listens on `port`, e.g. `::1`."""
    return tuple(dict.fromkeys(str(address) for address, bound, _ in _listeners() if bound == port))


def _addresses_of(host: str) -> tuple[_Address, ...]:
    """The addresses meant; none means any."""
    if host.lower() == "localhost":
        return (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ()
    return () if address.is_unspecified else (address,)


def _collides(bound: _Address, wanted: tuple[_Address, ...]) -> bool:
    if not wanted or bound in wanted:
        return True
    # A socket bound to `::` usually takes IPv4 as well (IPV6_V6ONLY off), as 0.0.0.0 does.
    return bound.is_unspecified and (
        bound.version == 6 or any(address.version == 4 for address in wanted)
    )


def _listeners() -> Iterator[tuple[_Address, int, str]]:
    """Address, port and inode of each listening TCP socket."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 9 and words[3] == _LISTEN:
                address, _, port = words[1].partition(":")
                yield _address(address), int(port, 16), words[9]


def _address(text: str) -> _Address:
    """An address as the kernel prints it: 32-bit words, each in the machine's byte order."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    address = ipaddress.ip_address(raw)
    if isinstance(address, ipaddress.IPv6Address) and address in _MAPPED_PREFIX:
        return address.ipv4_mapped or address
    return address


def _process_with(links: set[str]) -> str | None:
    """The process that holds one of these descriptors; the oldest, which is the one to name."""
    pids = sorted(int(name) for name in _names(_PROC) if name.isdigit())
    for pid in pids:
        folder = _PROC / str(pid)
        for name in _names(folder / "fd"):
            try:
                link = os.readlink(folder / "fd" / name)
            except OSError:
                continue  # closed meanwhile
            if link in links:
                return _describe(pid)
    return None


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # ended meanwhile, or another user's
        return []


def _describe(pid: int) -> str:
    try:
        name = (_PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return f"pid {pid}"
    return f"pid {pid} ({name})"
