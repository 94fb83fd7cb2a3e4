"""Servers that never speak, each at as many addresses of 127.0.0.0/8 as one likes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def mute_listener(address: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """An address that lets everybody in and says nothing."""
    with socket.create_server((address, 0), backlog=512) as listener:
        yield address, listener.getsockname()[1]


@contextmanager
def full_listener(address: str) -> Iterator[tuple[str, int]]:
    """An address whose SYNs get no answer: a listener whose queue is full."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket(family))
        full.bind((address, 0))
        full.listen(0)
        port = full.getsockname()[1]
        for _ in range(3):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex((address if address != "0.0.0.0" else "127.0.0.1", port))
        yield address, port
