"""The load of a client on a forwarded port.

Each function runs in its own worker process and returns its counts. Must never ignore a broken
connection: a figure for half of the work is invalid.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.targets import ANSWER, DOWNLOAD, REQUEST, UPLOAD
from benchmarks.traffic import (
    PATIENCE,
    PING,
    connect,
    receive_blocks,
    receive_exactly,
    send_blocks,
)

_WARM_UP = 0.1  # share of the pings that is not counted


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes that arrived at the far end, and seconds from the connection to the last of them."""

    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Streams:
    """Several concurrent transfers: all bytes, the seconds until the last, and the fair share.

    `share` is the rate of the slowest stream over the mean rate.
    """

    bytes: int
    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class Connects:
    """Connections that were opened, used for one byte in each direction, and closed."""

    count: int
    seconds: float


def upload(port: int, seconds: float) -> Transfer:
    """Send for `seconds`, and wait until the target has received everything."""
    began = time.perf_counter()
    with connect(port) as connection:
        connection.sendall(REQUEST.pack(UPLOAD, seconds))
        sent = send_blocks(connection, seconds)
        (arrived,) = ANSWER.unpack(receive_exactly(connection, ANSWER.size))
    if arrived != sent:
        raise ConnectionError(f"{arrived} of {sent} bytes arrived")
    return Transfer(sent, time.perf_counter() - began)


def download(port: int, seconds: float) -> Transfer:
    """Let the target send for `seconds`, and read everything."""
    began = time.perf_counter()
    with connect(port) as connection:
        connection.sendall(REQUEST.pack(DOWNLOAD, seconds))
        received = receive_blocks(connection)
    return Transfer(received, time.perf_counter() - began)


def streams(
    move: Callable[[int, float], Transfer], port: int, count: int, seconds: float
) -> Streams:
    """`count` concurrent uploads or downloads; each rate counts from the common start."""
    transfers: list[Transfer] = []
    errors: list[BaseException] = []
    gate = threading.Barrier(count + 1)

    def run() -> None:
        gate.wait()
        try:
            moved = move(port, seconds)
            transfers.append(Transfer(moved.bytes, time.perf_counter() - began))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    gate.wait()
    for thread in threads:
        thread.join()
    if errors:
        raise ConnectionError(f"{len(errors)} of {count} streams failed: {errors[0]!r}")
    rates = [transfer.bytes / transfer.seconds for transfer in transfers]
    return Streams(
        sum(transfer.bytes for transfer in transfers),
        max(transfer.seconds for transfer in transfers),
        min(rates) * count / sum(rates),
    )


def echo(port: int, pings: int, seconds: float) -> list[float]:
    """Send a message and wait for its echo, repeatedly; returns the duration of each in seconds.

    Ends after `pings`, or after `seconds`; the first tenth of either is not counted.
    """
    taken: list[float] = []
    with connect(port) as connection:
        message = bytes(PING)
        began = now = time.perf_counter()
        number = 0
        while number < pings and now < began + seconds:
            number += 1
            before = time.perf_counter()
            connection.sendall(message)
            receive_exactly(connection, PING)
            now = time.perf_counter()
            if number > pings * _WARM_UP or now > began + seconds * _WARM_UP:
                taken.append(now - before)
    return taken


def connect_in_sequence(port: int, seconds: float) -> Connects:
    """For `seconds`: connect, one byte in each direction, close."""
    began = time.perf_counter()
    count = 0
    while time.perf_counter() < began + seconds:
        with connect(port) as connection:
            connection.sendall(b"x")
            receive_exactly(connection, 1)
        count += 1
    return Connects(count, time.perf_counter() - began)


def connect_in_parallel(port: int, seconds: float, at_once: int) -> Connects:
    """The same with `at_once` concurrent connections.

    Raises:
        ConnectionError: a connection was refused or cut.
        TimeoutError: they all fell silent.
    """
    began, count = time.perf_counter(), 0
    connections: dict[int, socket.socket] = {}
    with select.epoll() as poll:

        def begin() -> None:
            connection = socket.socket()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.connect_ex(("127.0.0.1", port))
            connections[connection.fileno()] = connection
            poll.register(connection, select.EPOLLOUT)

        try:
            for _ in range(at_once):
                begin()
            while connections:
                ready = poll.poll(PATIENCE)
                if not ready:
                    raise TimeoutError(f"{len(connections)} connections fell silent")
                for descriptor, events in ready:
                    if not events & select.EPOLLIN:
                        connections[descriptor].send(b"x")  # raises the error of the connection
                        poll.modify(descriptor, select.EPOLLIN)
                        continue
                    with connections.pop(descriptor) as connection:
                        receive_exactly(connection, 1)
                    count += 1
                    if time.perf_counter() < began + seconds:
                        begin()
        finally:
            for connection in connections.values():
                connection.close()
    return Connects(count, time.perf_counter() - began)


def answers(port: int, patience: float = 5.0) -> bool:
    """Whether a byte sent to `port` comes back within `patience` seconds."""
    try:
        with socket.create_connection(("127.0.0.1", port), patience) as connection:
            connection.sendall(b"x")
            return connection.recv(1) == b"x"
    except OSError:
        return False


class IdleConnections:
    """Connections that have carried a byte in each direction, and then stay idle."""

    def __init__(self) -> None:
        self._connections: list[socket.socket] = []

    def open(self, port: int, count: int) -> None:
        """Open `count` more."""
        for _ in range(count):
            connection = connect(port)
            self._connections.append(connection)
            connection.sendall(b"x")
            receive_exactly(connection, 1)

    def close(self) -> None:
        """Close them all."""
        while self._connections:
            self._connections.pop().close()

    def __len__(self) -> int:
        return len(self._connections)
