"""Ends of sockets: FIN, which says that everything was sent, or a reset.

Must never close with FIN by accident: linger is set from the start and removed only for a clean
end, so a process that dies leaves resets.
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
# Bytes that a client that is turned away may have sent unasked.
_LEAVE_READS: Final = 32
_LEAVE_SIZE: Final = 32 * 1024
# Seconds between probes by the kernel of a client that may be gone.
_PROBE_SECONDS: Final = 10


def reset_when_killed(sock: socket.socket) -> None:
    """Have the other end see RST when this process dies. Accepted sockets inherit it."""
    with contextlib.suppress(OSError):  # unix sockets have no reset; closing has to do
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN, whatever is still unsent."""
    reset_when_killed(sock)
    sock.close()


def shut_down(sock: socket.socket) -> None:
    """End both directions without closing: whoever waits for it, in any thread, goes on."""
    with contextlib.suppress(OSError):  # the other end was quicker, or it was closed meanwhile
        sock.shutdown(socket.SHUT_RDWR)


def probe_often(sock: socket.socket) -> None:
    """Find out soon whether the other end, which has sent FIN, still exists (tcp(7)).

    A program that has ended looks like one that waits for its answer, until its kernel has
    forgotten the connection (tcp_fin_timeout, 60 s) and answers a probe with RST.
    """
    # A unix socket; or a system without these options.
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)


def is_unsent(sock: socket.socket) -> bool:
    """Whether the other end has not acknowledged all bytes, or the FIN; for a unix socket, whether
    it has not read all (SIOCOUTQ in tcp(7), unix(7))."""
    try:
        return fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0") != b"\0\0\0\0"
    except OSError:
        return False


def take_leave(sock: socket.socket, words: bytes) -> None:
    """Send the last `words` and FIN, before `close_in_order`.

    Bytes of the client are read first, because the kernel would answer unread bytes with a reset,
    which may overtake the words.
    """
    with contextlib.suppress(OSError):  # the client is gone, or sent nothing more
        sock.send(words)
        sock.shutdown(socket.SHUT_WR)
        _discard(sock)


def _discard(sock: socket.socket) -> None:
    """Read what the other end has sent so far, within limits."""
    for _ in range(_LEAVE_READS):
        if not sock.recv(_LEAVE_SIZE):
            break


def send_fin(sock: socket.socket) -> None:
    """Send FIN after everything that the kernel still holds; the other end may still be sending."""
    with contextlib.suppress(OSError):  # it is gone
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        sock.shutdown(socket.SHUT_WR)


def close_in_order(sock: socket.socket) -> None:
    """Close after FIN; the kernel still delivers what came before it, unless bytes came that nobody
    read. Those of a unix socket are read, because its other end would see them as an error."""
    # Every connection comes here, and a context manager costs as much as all the rest.
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        if sock.family == socket.AF_UNIX:
            _discard(sock)
    except OSError:
        pass
    sock.close()
