"""A control socket that the service manager bound for us (sd_listen_fds(3)).

Owns the check that what was passed is what we would have bound ourselves. Must never close another
descriptor than the one that was passed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from tunnelctl.errors import Code, Failure

_FIRST = 3  # SD_LISTEN_FDS_START


def passed_socket(environ: Mapping[str, str], path: Path) -> socket.socket | None:
    """The listening unix socket at `path` that came with the process; None when none did.

    Raises:
        Failure: USAGE, something else was passed.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit() or count == "0":
        return None
    if count != "1":
        raise _unusable(f"{count} sockets", path)
    try:
        sock = socket.socket(fileno=_FIRST)
    except OSError as error:
        raise _unusable(f"no socket ({error.strerror})", path) from None
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM or not listens:
        sock.detach()
        raise _unusable("no unix socket that listens", path)
    if (name := sock.getsockname()) != str(path):
        sock.detach()
        raise _unusable(f"one that listens on {name}", path)
    sock.set_inheritable(False)
    return sock


def _unusable(what: str, path: Path) -> Failure:
    return Failure(
        Code.USAGE,
        f"the service manager passed {what}; wanted is one that listens on {path}",
        "ListenStream= of its socket unit, or TUNNELCTL_SOCKET in the service, says another path",
    )
