"""Finds the user of the program at the other end of a TCP connection within this machine.

Reads /proc/net/tcp (proc_net(5)). Must never take an end that is closed for root's: the kernel
shows user id 0 for it.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_TABLE = Path("/proc/net/tcp")
_ESTABLISHED = "01"  # TCP_ESTABLISHED in include/net/tcp_states.h of Linux
NOBODY_ANY_MORE = -1

Address = tuple[str, int]


def client_uid(client: Address, server: Address) -> int | None:
    """The user id of the process that is connected from `client` to us at `server` (IPv4 addresses
    and ports); `NOBODY_ANY_MORE` once it has closed. None where the system does not tell.
    """
    here, there = _written(server), _written(client)
    is_told = False
    try:
        lines = _TABLE.read_text().splitlines()[1:]
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if words[1:3] == [there, here] and words[3] == _ESTABLISHED:
            return int(words[7])
        is_told = is_told or words[1:3] == [here, there]  # our own end
    return NOBODY_ANY_MORE if is_told else None


def _written(address: Address) -> str:
    """As the kernel prints it: a word in the machine's byte order, and the port."""
    (word,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return f"{word:08X}:{address[1]:04X}"
