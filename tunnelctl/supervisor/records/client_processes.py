"""The processes of clients on this machine, each looked for once.

Owns what was found, as long as the connection is listed. Must never ask /proc on the loop, nor
for anything that nobody asked for.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Collection, Sequence
from typing import Final

from tunnelctl.forward.client_connections import ClientConnection
from tunnelctl.net.peers import peer_pid, peer_uid
from tunnelctl.net.processes.clients import SocketOwner, TcpPair, owners
from tunnelctl.net.threads import in_thread
from tunnelctl.state.documents.connection_status import ClientProcess

# Sockets that are asked before other work gets its turn.
_AT_ONCE: Final = 100


class ClientProcesses:
    """By the number of the connection."""

    def __init__(self) -> None:
        self._found: dict[int, ClientProcess | None] = {}

    def of(self, connection: ClientConnection) -> ClientProcess | None:
        """The process of a client; None if it was not found, or not looked up yet."""
        return self._found.get(connection.number)

    async def look(self, living: Sequence[ClientConnection]) -> None:
        """Look for the processes of these, unless that was done before."""
        unknown = [one for one in living if one.number not in self._found]
        ends: dict[int, TcpPair | SocketOwner] = {}
        for count, connection in enumerate(unknown, 1):
            end = None if connection.sock is None else _other_end(connection.sock)
            if end is not None:
                ends[connection.number] = end
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
        found = (
            await in_thread(functools.partial(owners, ends), "processes of clients") if ends else {}
        )
        self._found |= {one.number: found.get(one.number) for one in unknown}

    def keep(self, listed: Collection[int]) -> None:
        """Forget all others."""
        self._found = {number: one for number, one in self._found.items() if number in listed}


def _other_end(sock: socket.socket) -> TcpPair | SocketOwner | None:
    try:
        if sock.family == socket.AF_UNIX:
            uid = peer_uid(sock)
            return None if uid is None else SocketOwner(peer_pid(sock), uid)
        return TcpPair(sock.getpeername()[:2], sock.getsockname()[:2])
    except OSError:  # it has just ended
        return None
