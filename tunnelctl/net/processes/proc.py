"""Processes and TCP sockets as /proc lists them (proc(5), proc_net(5)); without /proc, none.

Must never raise for a process that ends while it is looked at, nor for one of another user. Blocks:
where many processes run, for long.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from tunnelctl.quick_dataclass import dataclass

PROC = Path("/proc")
LISTEN = "0A"  # TCP_LISTEN in include/net/tcp_states.h of Linux
_MAPPED_PREFIX = ipaddress.ip_network("::ffff:0:0/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """One row of the kernel's table, with its addresses as the kernel prints them."""

    local: str
    remote: str
    state: str
    uid: int
    inode: str

    @property
    def local_port(self) -> int:
        """Its own port."""
        return int(self.local.partition(":")[2], 16)


def tcp_sockets() -> Iterator[TcpSocket]:
    """Every TCP socket of this network namespace."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 9:
                yield TcpSocket(words[1], words[2], words[3], int(words[7]), words[9])


def address_and_port(text: str) -> tuple[Address, int]:
    """An address and port as the kernel prints them; IPv4 in IPv6 notation as IPv4.

    The address is written as 32-bit words, each in the machine's byte order.
    """
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return plain(ipaddress.ip_address(raw)), int(port, 16)


def plain(address: Address) -> Address:
    """An IPv4 address in IPv6 notation as IPv4."""
    if isinstance(address, ipaddress.IPv6Address) and address in _MAPPED_PREFIX:
        return address.ipv4_mapped or address
    return address


def pids() -> list[int]:
    """All processes, the oldest first."""
    return sorted(int(name) for name in _names(PROC) if name.isdigit())


def holders(inodes: Collection[str]) -> dict[str, int]:
    """The process that holds each of these sockets, by inode; of several, the oldest. Sockets of
    processes that cannot be looked into are left out."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, int] = {}
    for pid in pids():
        if len(found) == len(wanted):
            break
        folder = PROC / str(pid) / "fd"
        for name in _names(folder):
            try:
                inode = wanted.get(os.readlink(folder / name))
            except OSError:
                continue  # closed meanwhile
            if inode is not None:
                found.setdefault(inode, pid)
    return found


def name_of(pid: int) -> str:
    """The name of a process, which it can choose; empty if unknown."""
    try:
        return (PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def user_of(uid: int) -> str:
    """The name of a user; the number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # ended meanwhile, or another user's
        return []
