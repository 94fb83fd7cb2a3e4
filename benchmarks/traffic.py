"""The bytes that both ends of a measurement exchange, at the lowest cost that the kernel allows.

A transfer is a sequence of blocks; the first byte of each says whether another follows, so no
half-close is needed, which some peers do not pass on. Must never touch the bytes of a block in
Python, because the ends share the machine with the measured program. They are sent from a file in
memory (sendfile(2)) and dropped on arrival (MSG_TRUNC, tcp(7)), without a copy to this process.
"""

from __future__ import annotations

import functools
import os
import socket
import struct
import time

BLOCK = 256 * 1024
PATIENCE = 30  # seconds of silence after which a connection counts as dead
PING = 64  # bytes of one echo

_MORE, _LAST = b"\x01", b"\x00"
_SECONDS_AND_MICROSECONDS = struct.Struct("@ll")


def connect(port: int) -> socket.socket:
    """A blocking connection to 127.0.0.1:`port`; silence raises BlockingIOError."""
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    prepare(connection)
    return connection


def prepare(connection: socket.socket) -> None:
    """Make a connection blocking, with the kernel's own time limit, which avoids a poll(2) for each
    call."""
    connection.setblocking(True)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    limit = _SECONDS_AND_MICROSECONDS.pack(PATIENCE, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def receive_exactly(connection: socket.socket, count: int) -> bytes:
    """Read `count` bytes.

    Raises:
        ConnectionError: the stream ended before.
    """
    data = connection.recv(count, socket.MSG_WAITALL)
    if len(data) < count:
        raise ConnectionError(f"the stream ended after {len(data)} of {count} bytes")
    return data


def send_blocks(connection: socket.socket, seconds: float) -> int:
    """Send blocks for `seconds`, then the last one; returns the number of bytes sent."""
    end = time.monotonic() + seconds
    total = BLOCK
    with open(os.memfd_create("blocks"), "w+b") as blocks:
        blocks.write(_more_and_last())
        blocks.flush()
        while time.monotonic() < end:
            _send_block(connection, blocks.fileno(), 0)
            total += BLOCK
        _send_block(connection, blocks.fileno(), BLOCK)
    return total


def receive_blocks(connection: socket.socket) -> int:
    """Read until the end of the last block; returns the number of bytes received.

    Raises:
        ConnectionError: the stream ended before.
    """
    nowhere = bytearray(BLOCK)
    total = 0
    while True:
        mark = receive_exactly(connection, 1)
        rest = BLOCK - 1
        while rest:
            dropped = connection.recv_into(nowhere, rest, socket.MSG_TRUNC | socket.MSG_WAITALL)
            if not dropped:
                raise ConnectionError(f"the stream ended {rest} bytes before a block did")
            rest -= dropped
        total += BLOCK
        if mark == _LAST:
            return total


@functools.cache
def _more_and_last() -> bytes:
    """A block that is followed by another, and a last one."""
    return b"".join(mark + os.urandom(BLOCK - 1) for mark in (_MORE, _LAST))


def _send_block(connection: socket.socket, blocks: int, offset: int) -> None:
    end = offset + BLOCK
    while offset < end:
        offset += os.sendfile(connection.fileno(), blocks, offset, end - offset)
