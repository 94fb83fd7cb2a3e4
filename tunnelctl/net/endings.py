"""How a socket ends: with FIN, which says that all was sent, or with a reset, which says nothing.

Must never close with FIN by accident: a process that dies leaves resets behind, because linger is
set from the start and taken off only for an orderly end.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios

_LINGER_RESET = struct.pack("ii", 1, 0)
_LINGER_OFF = struct.pack("ii", 0, 0)
# How long bytes that are to be delivered may take to leave this machine before the reset, and
# how often that is looked at.
_DRAIN_SECONDS = 10.0
_DRAIN_STEP = 0.02
# What a client that is sent away may have said unasked.
_LEAVE_READS = 32
_LEAVE_SIZE = 32 * 1024


def reset_when_killed(sock: socket.socket) -> None:
    """Make RST what the other end sees when this process dies. Accepted sockets inherit it."""
    with contextlib.suppress(OSError):  # unix sockets have no reset, closing must do
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN, whatever still waits to be sent."""
    reset_when_killed(sock)
    sock.close()


def reset_when_sent(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Close with RST, but only after the other end has what the kernel still holds: a reset would
    drop it. A reader that takes more than 10 seconds for that is not waited for."""
    _reset_when_sent(loop, sock, loop.time() + _DRAIN_SECONDS)


def _reset_when_sent(loop: asyncio.AbstractEventLoop, sock: socket.socket, deadline: float) -> None:
    if loop.time() < deadline and _unsent(sock):
        loop.call_later(_DRAIN_STEP, _reset_when_sent, loop, sock, deadline)
    else:
        reset(sock)


def _unsent(sock: socket.socket) -> bool:
    """Whether the kernel holds bytes that the other end has not acknowledged (SIOCOUTQ)."""
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
        for _ in range(_LEAVE_READS):
            if not sock.recv(_LEAVE_SIZE):
                break


def close_in_order(sock: socket.socket) -> None:
    """Close after FIN; the kernel goes on to deliver what came before it."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
    sock.close()
