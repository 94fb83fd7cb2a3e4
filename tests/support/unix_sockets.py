"""Clients and a service for forwards that have a unix socket at one end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.services import DEADLINE, connect
from tunnelctl.spec.endpoint import Endpoint


@contextmanager
def connected(where: Endpoint) -> Iterator[socket.socket]:
    """A client's connection to either kind of endpoint."""
    if where.is_unix:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(where.path)
            yield connection
    else:
        with connect(where.port) as connection:
            yield connection


@contextmanager
def echo_at(path: Path) -> Iterator[Endpoint]:
    """A service on a unix socket that sends back what it gets."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=echo, args=(connection,))
            threads.append(thread)
            thread.start()

    def echo(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65_536):
                connection.sendall(data)

    threads = [threading.Thread(target=serve, name="unix echo")]
    threads[0].start()
    try:
        yield Endpoint(path=str(path))
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join()
