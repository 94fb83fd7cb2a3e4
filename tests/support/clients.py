"""Clients of a connection, each one blocking call with one result."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.support.services import CHUNK, Received, Stream, connect, receive


def upload(port: int, stream: Stream) -> str:
    """Send the stream, then FIN, then wait for the other end's FIN; the sha256 that was sent."""
    with connect(port) as connection:
        sent = stream.send(connection)
        connection.shutdown(socket.SHUT_WR)
        assert receive(connection).end == "fin"
        return sent


def download(port: int) -> Received:
    """Say nothing and read to the end."""
    with connect(port) as connection:
        return receive(connection)


def ask(port: int, question: bytes, address: str = "127.0.0.1") -> bytes:
    """Send the question, then FIN, then read the answer to its FIN.

    Raises:
        ConnectionResetError: the answer was cut.
    """
    with connect(port, address=address) as connection:
        connection.sendall(question)
        with contextlib.suppress(OSError):  # not connected any more: reading says how it ended
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(CHUNK), b""))


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Read `size` bytes.

    Raises:
        EOFError: the stream ended, in order, before.
    """
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError(f"the stream ends after {len(data)} of {size} bytes")
        data += piece
    return bytes(data)


def exchange(connection: socket.socket, message: bytes) -> bytes:
    """Send a message (one that fits the sockets' buffers) and read as many bytes back."""
    connection.sendall(message)
    return receive_exactly(connection, len(message))


def pour(connection: socket.socket) -> str:
    """Send without end, until the connection is cut: `reset`, or `broken` when it was before."""
    try:
        Stream(1 << 40).send(connection)
    except ConnectionResetError:
        return "reset"
    except BrokenPipeError:
        return "broken"
    raise AssertionError("a stream without end has ended")


def watch(port: int, number: int, over: threading.Event) -> int:
    """Exchange bytes that only this stream has; how many came back, all of them right."""
    total = 0
    while not over.is_set():
        with connect(port) as connection:
            # Short lives too, so that channel numbers are used again.
            for piece in Stream(2_000_000, seed=number + total).chunks():
                message = bytes(piece)
                assert exchange(connection, message) == message
                total += len(message)
    return total
