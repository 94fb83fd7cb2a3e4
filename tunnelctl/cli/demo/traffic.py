"""Traffic for `demo`: a service that counts and sends bytes, and a client that measures.

Blocking sockets in their own threads, so that they do not slow down the tunnel. Must never report
a figure for incomplete data: every transfer is verified by SHA-256.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from itertools import repeat

from tunnelctl import clock
from tunnelctl.cli import sentences
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.view.texts import transfer_text

_HEADER = struct.Struct(">Q")  # the number of bytes that the client requests
_ENDLESS = 1 << 40
_BLOCK = bytes(range(256)) * 1024
_RECEIVE = 1 << 18
_PATIENCE = 30.0  # seconds for one read or write


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes sent in one direction, and the duration in seconds."""

    count: int
    seconds: float

    def __str__(self) -> str:
        return transfer_text(self.count, self.seconds)


class TrafficService:
    """Listens on 127.0.0.1. Reads a client's data to its end; answers with its SHA-256 and the
    requested number of bytes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._clients: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._run, name="demo service")
        self._thread.start()

    def close(self) -> None:
        """Stop, and close open connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for client in tuple(self._clients):
            client.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            with client:
                self._clients.add(client)
                try:
                    client.settimeout(_PATIENCE)
                    _serve(client)
                except OSError:
                    pass  # the demo killed the server
                finally:
                    self._clients.discard(client)


def send(port: int, count: int) -> Transfer:
    """Send `count` bytes to the service behind a local port.

    Raises:
        Failure: the received data differs from the sent data.
    """
    expected = hashlib.sha256()
    began = clock.monotonic()
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as sock:
        sock.sendall(_HEADER.pack(0))
        for block in _blocks(count):
            sock.sendall(block)
            expected.update(block)
        sock.shutdown(socket.SHUT_WR)
        answer = _read_all(sock)
    _compare(answer, expected.digest())
    return Transfer(count, clock.monotonic() - began)


def receive(port: int, count: int) -> Transfer:
    """Let the service behind a local port send `count` bytes.

    Raises:
        Failure: the received data differs from the sent data.
    """
    received, got = hashlib.sha256(), 0
    began = clock.monotonic()
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as sock:
        sock.sendall(_HEADER.pack(count))
        sock.shutdown(socket.SHUT_WR)
        skipped = _read_exactly(sock, hashlib.sha256().digest_size)
        while chunk := sock.recv(_RECEIVE):
            received.update(chunk)
            got += len(chunk)
    took = clock.monotonic() - began
    expected = hashlib.sha256()
    for block in _blocks(count):
        expected.update(block)
    _compare(skipped + received.digest(), hashlib.sha256().digest() + expected.digest())
    return Transfer(got, took)


def begin_to_receive(port: int) -> socket.socket:
    """A connection over which the service sends without end; its first bytes have arrived."""
    sock = socket.create_connection(("127.0.0.1", port), _PATIENCE)
    try:
        sock.sendall(_HEADER.pack(_ENDLESS))
        sock.shutdown(socket.SHUT_WR)
        _read_exactly(sock, hashlib.sha256().digest_size + len(_BLOCK))
    except BaseException:
        sock.close()
        raise
    return sock


def get(port: int) -> str:
    """The body of the response of an HTTP service behind a local port.

    Raises:
        OSError: the connection was reset or not answered.
    """
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return _read_all(sock).partition(b"\r\n\r\n")[2].decode().strip()


def wait_for_reset(sock: socket.socket) -> bool:
    """Whether a connection ends with a reset, not with a normal end of file."""
    sock.settimeout(_PATIENCE)
    try:
        while sock.recv(_RECEIVE):
            pass
    except ConnectionResetError:
        return True
    return False


def _serve(client: socket.socket) -> None:
    (wanted,) = _HEADER.unpack(_read_exactly(client, _HEADER.size))
    received = hashlib.sha256()
    while chunk := client.recv(_RECEIVE):
        received.update(chunk)
    client.sendall(received.digest())
    for block in _blocks(wanted):
        client.sendall(block)


def _blocks(count: int) -> Iterator[bytes]:
    whole, rest = divmod(count, len(_BLOCK))
    yield from repeat(_BLOCK, whole)
    yield _BLOCK[:rest]


def _read_exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise ConnectionResetError("the stream ended early")
        data += chunk
    return data


def _read_all(sock: socket.socket) -> bytes:
    chunks = []
    while chunk := sock.recv(_RECEIVE):
        chunks.append(chunk)
    return b"".join(chunks)


def _compare(got: bytes, expected: bytes) -> None:
    if got != expected:
        raise sentences.bytes_changed()
