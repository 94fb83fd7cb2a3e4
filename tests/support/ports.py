"""Ports that nobody else takes while a test has them closed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
from pathlib import Path

# Below the range the kernel gives to outgoing connections: a port there can be closed and opened
# again without another connection having got it in between.
_FIRST, _COUNT, _SHARES = 20_000, 500, 24


def _share() -> tuple[int, socket.socket | None]:
    """The number of a share of the ports that no other process has, and what holds it as ours.

    An abstract name is bound (unix(7)): it is of this machine or network namespace, as ports are,
    and free again when this process ends. Where there are none, chance has to do.
    """
    for number in range(_SHARES):
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0tunnelctl-test-ports-{number}")
        except (OSError, ValueError):
            holder.close()
        else:
            return number, holder
    return os.getpid() % _SHARES, None


_number, _holder = _share()
_candidates = itertools.count(os.getpid() * 97)

# Every address of a family at once: a port that is free for IPv4 alone may be a listener's on ::1.
_EVERYWHERE = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))


def free_port() -> int:
    """A port that is free now on every address, and not one of the last that were handed out."""
    for candidate in itertools.islice(_candidates, _COUNT):
        port = _FIRST + _number * _COUNT + candidate % _COUNT
        if all(_is_free(family, address, port) for family, address in _EVERYWHERE):
            return port
    raise AssertionError(f"no free port in share {_number}")


def has_ipv6() -> bool:
    """Whether this machine has the loopback of IPv6."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def is_listening(port: int) -> bool:
    """Whether somebody listens on the port; without a connection, which a server would count."""
    wanted = f":{port:04X}"
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        # Fields of proc(5): number, local address, remote address, state (0A is LISTEN).
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                return True
    return False


def _is_free(family: socket.AddressFamily, address: str, port: int) -> bool:
    """Whether nobody holds the port; so it is where this machine lacks the family."""
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    return True
