"""A control socket that the service manager bound for the daemon (sd_listen_fds(3)).

Owns the check that the passed socket is what the daemon would have bound itself. Must never close
any other descriptor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from tunnelctl.daemon import sentences
from tunnelctl.errors import reason

_FIRST = 3  # SD_LISTEN_FDS_START


def passed_socket(environ: Mapping[str, str], path: Path) -> socket.socket | None:
    """The listening unix socket at `path` that was passed to the process; None if none was.

    Raises:
        Failure: USAGE, something else was passed.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit() or count == "0":
        return None
    if count != "1":
        raise sentences.several_passed(count, path)
    try:
        sock = socket.socket(fileno=_FIRST)
    except OSError as error:
        raise sentences.passed_no_socket(reason(error), path) from None
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM or not listens:
        sock.detach()
        raise sentences.passed_no_listener(path)
    if (name := sock.getsockname()) != str(path):
        sock.detach()
        raise sentences.passed_another_path(str(name), path)
    sock.set_inheritable(False)
    return sock
