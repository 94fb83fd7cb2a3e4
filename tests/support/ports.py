"""Ports that nobody else takes while a test has them closed."""

from __future__ import annotations

import itertools
import os
import socket

# Below the range the kernel gives to outgoing connections: a port there can be closed and opened
# again without another connection having got it in between.
_FIRST, _COUNT = 20_000, 12_000
_candidates = itertools.count(os.getpid() * 97)


def free_port(host: str = "127.0.0.1") -> int:
    """A port on `host` that is free now and not handed out before by this process."""
    for candidate in itertools.islice(_candidates, _COUNT):
        port = _FIRST + candidate % _COUNT
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port on {host} between {_FIRST} and {_FIRST + _COUNT}")
