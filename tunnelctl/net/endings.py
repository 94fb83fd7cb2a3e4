"""How a socket ends: with FIN, which says that all was sent, or with a reset, which says nothing.

Must never close with FIN by accident: a process that dies leaves resets behind, because linger is
set from the start and taken off only for an orderly end.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
from typing import Final

_LINGER_RESET: Final = struct.pack("ii", 1, 0)
_LINGER_OFF: Final = struct.pack("ii", 0, 0)
# What a client that is sent away may have said unasked.
_LEAVE_READS: Final = 32
_LEAVE_SIZE: Final = 32 * 1024
# Seconds between questions to the kernel of a client that may be gone.
_PROBE_SECONDS: Final = 10


def reset_when_killed(sock: socket.socket) -> None:
    """Make RST what the other end sees when this process dies. Accepted sockets inherit it."""
    with contextlib.suppress(OSError):  # unix sockets have no reset, closing must do
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN, whatever still waits to be sent."""
    reset_when_killed(sock)
    sock.close()


def probe_often(sock: socket.socket) -> None:
    """Find out soon whether the other end, which has sent FIN, is still there (tcp(7)).

    A program that was ended looks like one that waits for its answer, until its kernel has
    forgotten the connection (tcp_fin_timeout, 60 s): from then on it answers a probe with RST.
    """
    with contextlib.suppress(OSError, AttributeError):  # a unix socket; a system without the words
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)


def is_unsent(sock: socket.socket) -> bool:
    """Whether the kernel holds bytes, or a FIN, that the other end has not acknowledged; of a unix
    socket, that it has not read (SIOCOUTQ in tcp(7), unix(7))."""
    try:
        return fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0") != b"\0\0\0\0"
    except OSError:
        return False


def take_leave(sock: socket.socket, words: bytes) -> None:
    """Send the last `words` and FIN, before `close_in_order`.

    What the client has said is read first: the kernel would answer bytes that nobody read with a
    reset, which may overtake the words.
    """
    with contextlib.suppress(OSError):  # the client is gone, or has said no more
        sock.send(words)
        sock.shutdown(socket.SHUT_WR)
        _discard(sock)


def _discard(sock: socket.socket) -> None:
    """Read what the other end has said so far, within bounds."""
    for _ in range(_LEAVE_READS):
        if not sock.recv(_LEAVE_SIZE):
            break


def send_fin(sock: socket.socket) -> None:
    """Send FIN after all that the kernel still holds; the other end may still be sending."""
    with contextlib.suppress(OSError):  # it is gone
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        sock.shutdown(socket.SHUT_WR)


def close_in_order(sock: socket.socket) -> None:
    """Close after FIN; the kernel goes on to deliver what came before it, unless bytes came that
    nobody read. Of a unix socket these are read: its other end would see them as an error."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        if sock.family == socket.AF_UNIX:
            _discard(sock)
    sock.close()
