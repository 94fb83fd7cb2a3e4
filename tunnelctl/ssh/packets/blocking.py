"""A blocking socket for the thread of a handshake, with one deadline.

Owns bytes that were read and not used yet. Must never read a line or a packet without a limit, nor
wait without checking the deadline, which may be suspended while a person is asked.
"""

from __future__ import annotations

import contextlib
import select
import socket
from typing import TYPE_CHECKING

import paramiko

from tunnelctl import clock
from tunnelctl.ssh.failures import DeadlinePassed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# The messages of a handshake are short. Large buffers would be cut down to these repeatedly, and
# fragment the memory that many concurrent logins use.
_RECEIVE_SIZE = 8 * 1024
# RFC 4253 section 4.2 allows 255 bytes a line; servers send longer ones before the version.
_LINE_MAX = 8 * 1024


class BlockingSocket:
    """`deadline`: a moment of `clock.monotonic`; None waits forever.

    `fill`, `line` and `write` raise EOFError when the socket ended or was closed, DeadlinePassed,
    or OSError.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.deadline: float | None = None
        self.buffer = bytearray()
        self._sock = sock
        self._is_closed = False
        self._unsent: OSError | None = None  # why nothing more can be sent

    def close(self) -> None:
        """Close the socket, which ends any wait."""
        self._is_closed = True
        with contextlib.suppress(OSError):  # never connected, or closed already
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def take(self, count: int) -> bytes:
        """The first `count` bytes of the buffer, which must be there."""
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def line(self) -> str:
        """The next line, without its end.

        Raises:
            SSHException: it is too long.
        """
        while b"\n" not in self.buffer:
            if len(self.buffer) > _LINE_MAX:
                raise paramiko.SSHException("the peer sent a banner line without an end")
            self.fill(len(self.buffer) + 1)
        line = self.take(self.buffer.index(b"\n") + 1)
        return line.removesuffix(b"\n").rstrip(b"\r").decode("utf-8", "replace")

    def fill(self, count: int) -> None:
        """Read until `count` bytes are in the buffer."""
        while len(self.buffer) < count:
            self._wait(select.POLLIN)
            try:
                received = self._sock.recv(_RECEIVE_SIZE)
            except (BlockingIOError, TimeoutError):
                continue
            if not received:
                raise self._unsent or EOFError
            self.buffer += received

    def write(self, out: ReadableBuffer) -> None:
        """Send all of `out`.

        To a peer that has closed nothing is sent, and its last bytes are still read, because they
        may give the reason. The read that finds no more raises the error.
        """
        view = memoryview(out)
        while view and self._unsent is None:
            self._wait(select.POLLOUT)
            try:
                view = view[self._sock.send(view) :]
            except (BlockingIOError, TimeoutError):
                continue
            except (BrokenPipeError, ConnectionResetError) as error:
                self._unsent = error

    def _wait(self, event: int) -> None:
        """Wait for the socket until the deadline."""
        if self._is_closed:
            raise EOFError
        poll = select.poll()
        poll.register(self._sock, event)
        while not poll.poll(self._milliseconds_left()):
            # It may have been suspended meanwhile: a person is asked.
            if self._milliseconds_left() == 0.0:
                raise DeadlinePassed("the handshake took too long")
        if self._is_closed:
            raise EOFError

    def _milliseconds_left(self) -> float | None:
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - clock.monotonic()) * 1000
