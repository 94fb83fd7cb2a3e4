"""Which process listens on an address of this machine.

Reads /proc (proc(5), proc_net(5)); on other systems nothing is known, and of another user's process
only the user. A tunnelctl daemon hides its descriptors even from its own user, and is recognized by
its command line.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunnelctl.net.peers import peer_pid

_PROC = Path("/proc")
_LISTEN = "0A"  # TCP_LISTEN in include/net/tcp_states.h of Linux
_MAPPED_PREFIX = ipaddress.ip_network("::ffff:0:0/96")

STOP_IT = "stop what uses it, or choose another in the profile"  # unless it is a daemon of ours

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class PortHolder:
    """The holder of a port for a message, and what to do about it: never to stop our own."""

    name: str
    hint: str = STOP_IT

    def __str__(self) -> str:
        return self.name


def is_literal(host: str) -> bool:
    """Whether it is an address, which needs no name resolution."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def port_holder(host: str, port: int) -> PortHolder | None:
    """What occupies `host:port`, e.g. `pid 911 (postgres)`; None if unknown.

    `host` is an address, `localhost`, or `*` for all addresses; another name matches any address.
    """
    wanted = _addresses_of(host)
    owners = {
        inode: uid
        for address, bound, inode, uid in _listeners()
        if bound == port and _collides(address, wanted)
    }
    if not owners:
        return None
    pid = _process_with({f"socket:[{inode}]" for inode in owners})
    if pid is not None:
        return _daemon([pid]) if _is_daemon(pid) else PortHolder(_describe(pid))
    uid = next(iter(owners.values()))
    if uid != os.geteuid():
        return PortHolder(f"a process of the user {_user(uid)}", "choose another in the profile")
    daemons = [pid for pid in _pids() if pid != os.getpid() and _hides(pid, uid)]
    return _daemon(daemons) if daemons else None


def path_holder(path: str) -> PortHolder | None:
    """What listens on a unix socket; None if nothing does, or it is unknown. It sees a client that
    leaves at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # one with a full backlog would block
        try:
            probe.connect(path)
            pid = peer_pid(probe)
        except OSError:
            return None
    if pid is None:
        return None
    return _daemon([pid]) if _is_daemon(pid) else PortHolder(_describe(pid))


def collide(one: str, other: str) -> bool:
    """Whether a port cannot be bound on both hosts, which are written as for `port_holder`."""
    first, second = _addresses_of(one), _addresses_of(other)
    return not first or not second or bool(set(first) & set(second))


def listened_on(port: int) -> tuple[str, ...]:
    """The addresses of this machine at which something listens on `port`, e.g. `::1`."""
    found = (str(address) for address, bound, *_ in _listeners() if bound == port)
    return tuple(dict.fromkeys(found))


def _addresses_of(host: str) -> tuple[_Address, ...]:
    """The addresses; none means any."""
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


def _listeners() -> Iterator[tuple[_Address, int, str, int]]:
    """Address, port, inode and user id of each listening TCP socket."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 9 and words[3] == _LISTEN:
                address, _, port = words[1].partition(":")
                yield _address(address), int(port, 16), words[9], int(words[7])


def _address(text: str) -> _Address:
    """An address as the kernel prints it: 32-bit words, each in the machine's byte order."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    address = ipaddress.ip_address(raw)
    if isinstance(address, ipaddress.IPv6Address) and address in _MAPPED_PREFIX:
        return address.ipv4_mapped or address
    return address


def _pids() -> list[int]:
    return sorted(int(name) for name in _names(_PROC) if name.isdigit())


def _process_with(links: set[str]) -> int | None:
    """The process that holds one of these descriptors; of several, the oldest."""
    for pid in _pids():
        folder = _PROC / str(pid)
        for name in _names(folder / "fd"):
            try:
                link = os.readlink(folder / "fd" / name)
            except OSError:
                continue  # closed meanwhile
            if link in links:
                return pid
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


def _daemon(pids: list[int]) -> PortHolder:
    """Another daemon of ours, of this user or found by root."""
    which = f", pid {pids[0]}" if len(pids) == 1 else ""
    return PortHolder(
        f"another tunnelctl daemon{which}",
        "TUNNELCTL_SOCKET says which daemon a command means: tunnelctl down PROFILE there, or "
        "choose another in the profile",
    )


def _hides(pid: int, uid: int) -> bool:
    """Whether it is a daemon of that user, which hides its descriptors."""
    if not _is_daemon(pid):
        return False
    try:
        lines = (_PROC / str(pid) / "status").read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.startswith("Uid:") and line.split()[2] == str(uid) for line in lines)


def _is_daemon(pid: int) -> bool:
    """By its command line (proc(5), cmdline), which every process shows."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    names = [os.path.basename(word) for word in words]
    return b"tunnelctl" in names and b"daemon" in names[names.index(b"tunnelctl") :]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
