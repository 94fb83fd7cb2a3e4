"""Finds the process that listens on an address of this machine.

Reads /proc (proc(5), proc_net(5)); on other systems nothing is known, and of another user's process
only the user. A tunnelctl daemon hides its descriptors even from its own user, and is recognized by
its command line.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator

from tunnelctl.net.peers import peer_pid
from tunnelctl.net.processes import proc
from tunnelctl.quick_dataclass import dataclass

STOP_IT = "stop what uses it, or choose another in the profile"  # unless it is a daemon of ours


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
    """The process that occupies `host:port`, e.g. `pid 911 (postgres)`; None if unknown.

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
    pid = min(proc.holders(owners).values(), default=None)
    if pid is not None:
        return _daemon([pid]) if _is_daemon(pid) else PortHolder(_describe(pid))
    uid = next(iter(owners.values()))
    if uid != os.geteuid():
        return PortHolder(
            f"a process of the user {proc.user_of(uid)}", "choose another in the profile"
        )
    daemons = [pid for pid in proc.pids() if pid != os.getpid() and _hides(pid, uid)]
    return _daemon(daemons) if daemons else None


def path_holder(path: str) -> PortHolder | None:
    """The listener of a unix socket; None if there is none, or it is unknown. It sees a client that
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


def _addresses_of(host: str) -> tuple[proc.Address, ...]:
    """The addresses; none means any."""
    if host.lower() == "localhost":
        return (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ()
    return () if address.is_unspecified else (address,)


def _collides(bound: proc.Address, wanted: tuple[proc.Address, ...]) -> bool:
    if not wanted or bound in wanted:
        return True
    # A socket bound to `::` usually takes IPv4 as well (IPV6_V6ONLY off), as 0.0.0.0 does.
    return bound.is_unspecified and (
        bound.version == 6 or any(address.version == 4 for address in wanted)
    )


def _listeners() -> Iterator[tuple[proc.Address, int, str, int]]:
    """Address, port, inode and user id of each listening TCP socket."""
    for row in proc.tcp_sockets():
        if row.state == proc.LISTEN:
            yield *proc.address_and_port(row.local), row.inode, row.uid


def _describe(pid: int) -> str:
    name = proc.name_of(pid)
    return f"pid {pid} ({name})" if name else f"pid {pid}"


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
        lines = (proc.PROC / str(pid) / "status").read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.startswith("Uid:") and line.split()[2] == str(uid) for line in lines)


def _is_daemon(pid: int) -> bool:
    """By its command line (proc(5), cmdline), which every process shows."""
    try:
        words = (proc.PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    names = [os.path.basename(word) for word in words]
    return b"tunnelctl" in names and b"daemon" in names[names.index(b"tunnelctl") :]
