"""Shows the other end of a unix socket that a stream was cut, because such a socket has no reset.

Linux has one sign: if a socket is closed with unread bytes in its queue, the other end gets
ECONNRESET once it has read what came before (af_unix.c, unix_release_sock). So the last byte of a
client is passed on, and stays in the queue until more comes or the connection ends cleanly
(`endings.close_in_order` reads it). Must never keep a client from sending: its kernel counts the
whole piece that contains the byte, so nothing is kept of long pieces.
"""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from typing import Final

# With an unread piece of so many bytes, a client can still send if its send buffer is 18 KiB or
# more (unix(7), SO_SNDBUF; af_unix.c, unix_writable: at most a quarter of it may be used). The
# default is 208 KiB.
_PIECE_MAX: Final = 2048


def can_tell(sock: socket.socket) -> bool:
    """Whether the last byte of this socket is worth keeping."""
    return sys.platform == "linux" and sock.family == socket.AF_UNIX


class LastByte:
    """Reads from such a socket, in place of `recv_into`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._is_kept = False  # the first byte in the queue was passed on already

    def receive(self, room: memoryview, *, has_ended: bool) -> int:
        """Read into `room`; returns the number of bytes, 0 at the end. `has_ended`: the other end
        sent FIN.

        Raises:
            BlockingIOError: nothing came since the last time.
        """
        came = self._waiting() - self._is_kept
        if not came and self._is_kept:
            if has_ended:
                return 0
            raise BlockingIOError
        if self._is_kept:
            self._sock.recv(1)
            self._is_kept = False
        if not 0 < came <= min(_PIECE_MAX, len(room)):
            return self._sock.recv_into(room)
        count = 0
        while count < came - 1:
            count += self._sock.recv_into(room[count : came - 1])
        self._is_kept = True
        return count + self._sock.recv_into(room[count:came], 1, socket.MSG_PEEK)

    def _waiting(self) -> int:
        """The number of bytes in the queue (SIOCINQ, unix(7))."""
        return int.from_bytes(fcntl.ioctl(self._sock, termios.FIONREAD, bytes(4)), sys.byteorder)
