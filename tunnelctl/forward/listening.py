"""Binds listening sockets on this machine, TCP and unix.

Owns the choice of addresses and the file of a unix socket. Blocks where a name is resolved, or a
path may be on a disk that hangs; see `is_quick`. Must never bind an address that was not requested,
and never take the path of a live socket.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys

from tunnelctl.errors import reason
from tunnelctl.forward import sentences
from tunnelctl.net.addresses import is_literal
from tunnelctl.net.endings import reset_when_killed
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import ANY_ADDRESS, LOCALHOST, LOOPBACKS, WILDCARDS, Endpoint

# As many as may come while the loop is busy; the kernel caps it at net.core.somaxconn.
_BACKLOG = 1024
_CHOICES = 8  # to find a port that is free on every address
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

_Address = tuple[socket.AddressFamily, str]


@dataclass(frozen=True, slots=True)
class Listening:
    """Bound sockets: the endpoint with its real port, and the device and inode of a unix socket."""

    endpoint: Endpoint
    sockets: tuple[socket.socket, ...]
    file: tuple[int, int] | None = None

    def close(self) -> None:
        """Stop listening; the file of a unix socket is removed too. Blocks as `listen` does."""
        for sock in self.sockets:
            sock.close()
        self.remove_file()

    @property
    def is_in_place(self) -> bool:
        """Whether the file of a unix socket exists, and is the one that was created for it."""
        if self.file is None:
            return True
        try:
            status = os.stat(self.endpoint.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.file

    def remove_file(self) -> None:
        """Remove the file of a unix socket, unless another has replaced it."""
        if self.file is not None and self.is_in_place:
            with contextlib.suppress(OSError):
                os.unlink(self.endpoint.path)


def is_quick(endpoint: Endpoint) -> bool:
    """Whether it cannot block: no name is resolved, and no disk is accessed."""
    return not endpoint.is_unix and _literal(endpoint) is not None


def listen(endpoint: Endpoint) -> Listening:
    """Bind and listen: on every address of a name; `localhost` is both loopbacks, `*` all.

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
            # The chosen port was free on the first address only: try again.
            if error.errno != errno.EADDRINUSE or left == 1:
                raise
    host, port = sockets[0].getsockname()[:2]
    bound = endpoint.with_port(port)
    if endpoint.host == LOCALHOST and len(sockets) < len(addresses):
        bound = Endpoint(host, port)  # the only loopback of this machine
    return Listening(bound, sockets)


def _literal(endpoint: Endpoint) -> list[_Address] | None:
    """The addresses of an endpoint that needs no name resolution; None for a name."""
    if endpoint.host == LOCALHOST:
        return list(zip((socket.AF_INET, socket.AF_INET6), LOOPBACKS, strict=True))
    if endpoint.host == ANY_ADDRESS:
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
    """Sockets on all the addresses, on one port; families that this machine lacks are skipped.

    Raises:
        OSError: not one of them can be bound, or one whose family is there cannot.
    """
    made: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in addresses:
        try:
            made.append(_bind(family, address, port))
            # Port 0 is chosen once, and the other family uses the same port.
            port = made[0].getsockname()[1]
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
    """Listen on a path that only this user can open; the socket of an ended process is replaced."""
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
    """Restrict the file from its creation, not only after a chmod(2)."""
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
    """Remove a socket file that nobody listens on. Any other file there is not removed."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a live one with a full backlog would block
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False
