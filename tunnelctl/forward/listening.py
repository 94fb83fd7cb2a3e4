"""Sockets that listen on this machine, TCP and unix: how they are bound.

Owns the choice of addresses and of the file of a unix socket. Blocks where a name is looked up, or
a path may lie on a disk that hangs: `is_quick` tells. Must never bind an address that was not asked
for, and never take the path of a living socket.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from dataclasses import dataclass

from tunnelctl.errors import reason
from tunnelctl.forward import sentences
from tunnelctl.net.addresses import is_literal
from tunnelctl.net.endings import reset_when_killed
from tunnelctl.spec.endpoint import LOCALHOST, LOOPBACKS, WILDCARDS, Endpoint

# As many as wait while the loop is busy; the kernel caps it at net.core.somaxconn.
_BACKLOG = 1024
_CHOICES = 8  # of a port that is free at every address
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

_Address = tuple[socket.AddressFamily, str]


@dataclass(frozen=True, slots=True)
class Listening:
    """Bound sockets: where, with the real port, and the device and inode of a unix socket."""

    endpoint: Endpoint
    sockets: tuple[socket.socket, ...]
    file: tuple[int, int] | None = None

    def close(self) -> None:
        """Stop listening; a unix socket's file goes too. Blocks as `listen` does."""
        for sock in self.sockets:
            sock.close()
        self.remove_file()

    @property
    def is_in_place(self) -> bool:
        """Whether the file of a unix socket is there, and the one that was made for it."""
        if self.file is None:
            return True
        try:
            status = os.stat(self.endpoint.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.file

    def remove_file(self) -> None:
        """Take a unix socket's file away, unless another has taken its place."""
        if self.file is not None and self.is_in_place:
            with contextlib.suppress(OSError):
                os.unlink(self.endpoint.path)


def is_quick(endpoint: Endpoint) -> bool:
    """Whether nothing of it can block: no name is looked up, and no disk is touched."""
    return not endpoint.is_unix and _literal(endpoint) is not None


def listen(endpoint: Endpoint) -> Listening:
    """Bind and listen: at every address of a name, `localhost` is both loopbacks, `*` all.

    Raises:
        OSError: it cannot be bound.
        Failure: name-not-found.
    """
    if endpoint.is_unix:
        sock = _bind_unix(endpoint.path)
        try:
            status = os.stat(endpoint.path)
        except OSError:
            sock.close()
            raise
        return Listening(endpoint, (sock,), (status.st_dev, status.st_ino))
    addresses = _literal(endpoint) or _look_up(endpoint)
    for left in range(_CHOICES if endpoint.port == 0 else 1, 0, -1):
        try:
            sockets = _bind_all(addresses, endpoint.port)
            break
        except OSError as error:
            # The system chose a port that is free at the first address alone: once more.
            if error.errno != errno.EADDRINUSE or left == 1:
                raise
    host, port = sockets[0].getsockname()[:2]
    bound = endpoint.with_port(port)
    if endpoint.host == LOCALHOST and len(sockets) < len(addresses):
        bound = Endpoint(host, port)  # the one loopback that there is
    return Listening(bound, sockets)


def _literal(endpoint: Endpoint) -> list[_Address] | None:
    """The addresses of what needs no looking up; None for a name."""
    if endpoint.host == LOCALHOST:
        return list(zip((socket.AF_INET, socket.AF_INET6), LOOPBACKS, strict=True))
    if endpoint.host == "*":
        return list(zip((socket.AF_INET, socket.AF_INET6), WILDCARDS, strict=True))
    if not is_literal(endpoint.host):
        return None
    return [(socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET, endpoint.host)]


def _look_up(endpoint: Endpoint) -> list[_Address]:
    try:
        found = socket.getaddrinfo(endpoint.host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise sentences.no_such_listen_address(endpoint, reason(error)) from None
    unique = dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found)
    return list(unique)


def _bind_all(addresses: list[_Address], port: int) -> tuple[socket.socket, ...]:
    """Sockets at all of the addresses, on one port; less those of a family that is missing here.

    Raises:
        OSError: not one of them can be bound, or one whose family is there cannot.
    """
    made: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in addresses:
        try:
            made.append(_bind(family, address, port))
            port = made[0].getsockname()[1]  # port 0 was chosen once; the other family follows
        except OSError as error:
            if len(addresses) > 1 and error.errno in _NO_SUCH_FAMILY:
                missing = error
                continue
            for sock in made:
                sock.close()
            raise
    if not made and missing is not None:
        raise missing
    return tuple(made)


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit both.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reset_when_killed(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: str) -> socket.socket:
    """Listen on a path that only this user can open; what a dead process left is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            _bind_private(sock, path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(path):
                raise
            os.unlink(path)
            _bind_private(sock, path)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_private(sock: socket.socket, path: str) -> None:
    """Nobody else may get in, not even before a chmod(2)."""
    if sys.platform == "linux":
        # The file gets the mode of the socket (unix_bind in net/unix/af_unix.c), less the umask.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(path)
        return
    umask = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(umask)


def _is_stale(path: str) -> bool:
    """A socket file that nobody listens on. Anything else that lies there is not ours to take."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a living one with a full backlog would make us wait
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False
