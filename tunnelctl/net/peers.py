"""The process at the other end of a unix socket, as the kernel knows it."""

from __future__ import annotations

import os
import socket
import struct
import sys


def peer_uid(sock: socket.socket) -> int | None:
    """The user id of the process that connected, or bound the socket; None if unknown.

    Linux: SO_PEERCRED (unix(7)), a `struct ucred` of pid, uid, gid.
    macOS: LOCAL_PEERCRED at level 0, a `struct xucred` that starts with version and uid.
    """
    if sys.platform == "linux":
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        uid: int = struct.unpack("3i", raw)[1]
        return uid
    if sys.platform == "darwin":
        raw = sock.getsockopt(0, 1, 76)
        return int(struct.unpack_from("2I", raw)[1])
    return None


def peer_pid(sock: socket.socket) -> int | None:
    """The process that listens at the other end; None if unknown, as in another namespace."""
    if sys.platform != "linux":
        return None
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", raw)[0]) or None


def is_ours(sock: socket.socket) -> bool:
    """Whether the other end runs as this user or as root; false if unknown."""
    return peer_uid(sock) in {0, os.geteuid()}
