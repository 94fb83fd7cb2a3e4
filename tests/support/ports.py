"""Ports that nobody else takes while a test has them closed."""

from __future__ import annotations

import itertools
import os
import socket

# Below the range the kernel gives to outgoing connections: a port there can be closed and opened
# again without another connection having got it in between. Parallel workers of one run (xdist)
# have ports of their own; separate runs begin at different ones.
_FIRST, _COUNT, _WORKERS = 20_000, 1_500, 8
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_candidates = itertools.count(os.getpid() * 97)


def free_port(host: str = "127.0.0.1") -> int:
    """A port on `host` that is free now and not one of the last that were handed out."""
    for candidate in itertools.islice(_candidates, _COUNT):
        port = _FIRST + _worker * _COUNT + candidate % _COUNT
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port on {host} for worker {_worker}")
