"""The processes at the other ends of accepted sockets, as far as they are on this machine.

Blocks: it reads /proc. Must never guess: another user's process is known by its user only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from tunnelctl.errors import printable
from tunnelctl.net.processes import proc
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.connection_status import ClientProcess

_Pair = tuple[tuple[proc.Address, int], tuple[proc.Address, int]]


@dataclass(frozen=True, slots=True)
class TcpPair:
    """The addresses and ports of both ends: the client's, and ours."""

    client: tuple[str, int]
    ours: tuple[str, int]


@dataclass(frozen=True, slots=True)
class SocketOwner:
    """The client of a unix socket, as the kernel tells it (SO_PEERCRED in unix(7))."""

    pid: int | None
    uid: int


def owners(clients: Mapping[int, TcpPair | SocketOwner]) -> dict[int, ClientProcess]:
    """The process of each client that is on this machine, under the same keys."""
    found = {key: _told(one) for key, one in clients.items() if isinstance(one, SocketOwner)}
    found.update(_of_tcp({key: one for key, one in clients.items() if isinstance(one, TcpPair)}))
    return found


def _told(owner: SocketOwner) -> ClientProcess:
    return _process(owner.pid, owner.uid)


def _of_tcp(clients: Mapping[int, TcpPair]) -> dict[int, ClientProcess]:
    wanted = {(_end(*one.client), _end(*one.ours)): key for key, one in clients.items()}
    rows: dict[int, proc.TcpSocket] = {}
    ports = {one.client[1] for one in clients.values()}
    for row in proc.tcp_sockets() if wanted else ():
        if row.local_port not in ports:
            continue
        pair: _Pair = proc.address_and_port(row.local), proc.address_and_port(row.remote)
        key = wanted.get(pair)
        if key is not None and row.inode != "0":  # one that its process has closed has none
            rows[key] = row
    pids = proc.holders({row.inode for row in rows.values()})
    return {key: _process(pids.get(row.inode), row.uid) for key, row in rows.items()}


def _end(host: str, port: int) -> tuple[proc.Address, int]:
    return proc.plain(ipaddress.ip_address(host.partition("%")[0])), port


def _process(pid: int | None, uid: int) -> ClientProcess:
    name = "" if pid is None else printable(proc.name_of(pid))
    return ClientProcess(pid, name, proc.user_of(uid))
