"""Listening sockets on this machine, TCP and unix.

Owns the sockets that listen, the file of a unix socket, and the pause when the process is out of
file descriptors. Must never accept on an address that was not asked for, never take the path of
a living socket, and never spin when accepting fails.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable
from weakref import WeakSet

from tunnelctl.errors import Code, Failure, reason
from tunnelctl.net.addresses import STOP_IT, collide, path_holder, port_holder
from tunnelctl.net.descriptors import descriptors
from tunnelctl.net.endings import reset_when_killed
from tunnelctl.net.reactor import READABLE, Reactor
from tunnelctl.spec.endpoint import LOCALHOST, LOOPBACKS, Endpoint

# As many as wait while the loop is busy; the kernel caps it at net.core.somaxconn.
_BACKLOG = 1024
# Clients taken in a row before others get their turn.
_ACCEPTS_A_TURN = 64
_PAUSE_SECONDS = 0.5
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - bound only where the profile says so
_CHOICES = 8  # of a port that is free at every address
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

# The client's socket, and its address for the server's log.
OnClient = Callable[[socket.socket, tuple[str, int]], None]


class Listener:
    """All sockets of one endpoint: `localhost` is both families, `*` every address.

    `owner` is whose it is, PROFILE/FORWARD, for whoever finds it in the way.

    Raises:
        Failure: port-in-use with whoever holds it, or permission-denied.
    """

    def __init__(
        self, reactor: Reactor, endpoint: Endpoint, on_client: OnClient, owner: str = ""
    ) -> None:
        self.owner = owner
        self._loop = reactor.loop
        self._when_closed: list[Callable[[], None]] = []
        self._doors: list[_Door] = []
        self._file: tuple[int, int] | None = None  # device and inode of a unix socket
        if endpoint.is_unix:
            self._listen_unix(reactor, endpoint, on_client)
        else:
            self._listen_tcp(reactor, endpoint, on_client)
        _open_listeners.add(self)

    def _listen_unix(self, reactor: Reactor, endpoint: Endpoint, on_client: OnClient) -> None:
        self.endpoint = endpoint
        try:
            sock = _bind_unix(endpoint.path)
        except OSError as error:
            raise _failure(endpoint, error) from None
        status = os.stat(endpoint.path)
        self._file = (status.st_dev, status.st_ino)
        self._doors.append(_Door(reactor, sock, on_client))

    def _listen_tcp(self, reactor: Reactor, endpoint: Endpoint, on_client: OnClient) -> None:
        addresses = _addresses(endpoint)
        for left in range(_CHOICES if endpoint.port == 0 else 1, 0, -1):
            try:
                self._doors = _doors(reactor, addresses, endpoint, on_client)
                break
            except OSError as error:
                # The system chose a port that is free at the first address alone: once more.
                if error.errno != errno.EADDRINUSE or left == 1:
                    raise _failure(endpoint, error) from None
        bound = endpoint.with_port(self._doors[0].port)
        if endpoint.host == LOCALHOST and len(self._doors) < len(addresses):
            bound = Endpoint(self._doors[0].host, bound.port)  # the one loopback that there is
        self.endpoint = bound

    @property
    def doors(self) -> tuple[_Door, ...]:
        """The sockets, by address."""
        return tuple(self._doors)

    def keeps_out(self, endpoint: Endpoint) -> bool:
        """Whether nobody else can listen there meanwhile."""
        if endpoint.is_unix or self.endpoint.is_unix:
            return endpoint == self.endpoint
        same_port = endpoint.port == self.endpoint.port
        return same_port and collide(self.endpoint.host, endpoint.host)

    @property
    def is_in_place(self) -> bool:
        """Whether clients can find it: a unix socket's file may be removed or replaced by anybody.
        Blocking, for the file may be on a disk that hangs; called from any thread."""
        file = self._file
        if file is None:
            return True
        try:
            status = os.stat(self.endpoint.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == file

    def hold(self) -> None:
        """Let clients wait in the queue of the system until `serve`."""
        for door in self._doors:
            door.hold()

    def serve(self, on_client: OnClient) -> None:
        """Let somebody else have the clients from now on."""
        for door in self._doors:
            door.serve(on_client)

    def close(self) -> None:
        """Stop listening. A unix socket's file goes, unless another has taken its place."""
        _open_listeners.discard(self)
        for door in self._doors:
            door.close()
        self._doors.clear()
        if self._file is not None and self.is_in_place:
            with contextlib.suppress(OSError):
                os.unlink(self.endpoint.path)
        self._file = None
        freed, self._when_closed = self._when_closed, []
        for call in freed:
            self._loop.call_soon(call)

    def when_closed(self, call: Callable[[], None]) -> None:
        """Call this once what it listens on is free again."""
        self._when_closed.append(call)


_open_listeners: WeakSet[Listener] = WeakSet()


def listens_here(address: Endpoint) -> bool:
    """Whether this process listens on that address, by itself or as part of a wildcard."""
    return any(
        door.port == address.port
        and (door.host == address.host or (door.host in _WILDCARDS and is_own(address.host)))
        for listener in _open_listeners
        for door in listener.doors
    )


def owner_of(endpoint: Endpoint) -> str | None:
    """Whose listener of this process keeps others from that endpoint; None when it has none."""
    keeper = keeper_of(endpoint)
    return None if keeper is None else keeper.owner


def keeper_of(endpoint: Endpoint) -> Listener | None:
    """The listener of this process that keeps others from that endpoint."""
    return next((one for one in _open_listeners if one.keeps_out(endpoint)), None)


def is_own(host: str) -> bool:
    """Whether an address is one of this machine: no other can be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _addresses(endpoint: Endpoint) -> list[tuple[socket.AddressFamily, str]]:
    if endpoint.host == LOCALHOST:
        return list(zip((socket.AF_INET, socket.AF_INET6), LOOPBACKS, strict=True))
    if endpoint.host == "*":
        return [(socket.AF_INET, _WILDCARDS[0]), (socket.AF_INET6, _WILDCARDS[1])]
    try:
        found = socket.getaddrinfo(endpoint.host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Failure(
            Code.NAME_NOT_FOUND,
            f"cannot listen on {endpoint}: {reason(error)}",
            "listen on an address of this machine",
            retryable=False,
            exit_code=73,
        ) from None
    unique = dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found)
    return list(unique)


def _doors(
    reactor: Reactor,
    addresses: list[tuple[socket.AddressFamily, str]],
    endpoint: Endpoint,
    on_client: OnClient,
) -> list[_Door]:
    """Sockets at all of the addresses, on one port; less those of a family that is missing here.

    Raises:
        OSError: not one of them can be bound, or one whose family is there cannot.
    """
    made: list[_Door] = []
    missing: OSError | None = None
    port = endpoint.port
    for family, address in addresses:
        try:
            made.append(_Door(reactor, _bind(family, address, port), on_client))
            port = made[0].port  # port 0 was chosen once; the other family follows
        except OSError as error:
            if len(addresses) > 1 and error.errno in _NO_SUCH_FAMILY:
                missing = error
                continue
            for door in made:
                door.close()
            raise
    if not made and missing is not None:
        raise missing
    return made


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
    # bind(2) makes the file with what the umask leaves; nobody may get in before a chmod.
    umask = os.umask(0o177)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(path):
                raise
            os.unlink(path)
            sock.bind(path)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(umask)
    return sock


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


def taken_by_own(endpoint: Endpoint, owner: str) -> Failure:
    """A forward of the daemon's, PROFILE/FORWARD, listens where another one should."""
    profile = owner.partition("/")[0]
    return Failure(
        Code.PORT_IN_USE,
        f"{endpoint} is in use by {owner}, a forward of the daemon's own",
        f"tunnelctl down {profile}, or choose another in the profile",
    )


def _failure(endpoint: Endpoint, error: OSError) -> Failure:
    if error.errno == errno.EADDRINUSE:
        if owner := owner_of(endpoint):  # without a look at /proc, which may show nothing
            return taken_by_own(endpoint, owner)
        at = endpoint
        holder = path_holder(at.path) if at.is_unix else port_holder(at.host, at.port)
        return Failure(
            Code.PORT_IN_USE,
            f"{endpoint} is in use" + (f" by {holder}" if holder else ""),
            holder.hint if holder else STOP_IT,
        )
    if endpoint.is_unix:
        hint = "the directory must exist and be yours; a path has at most 107 bytes"
        why = reason(error)  # a path that is too long has no error number
        return Failure(Code.PERMISSION_DENIED, f"cannot listen on {endpoint}: {why}", hint)
    hint = "ports below 1024 need root; choose a higher one" if 0 < endpoint.port < 1024 else ""
    return Failure(Code.PERMISSION_DENIED, f"cannot listen on {endpoint}: {reason(error)}", hint)


class _Door:
    """One listening socket."""

    def __init__(self, reactor: Reactor, sock: socket.socket, on_client: OnClient) -> None:
        self._reactor = reactor
        self._sock = sock
        self._on_client = on_client
        self._is_closed = False
        self._is_paused = False
        self._is_held = False
        name = sock.getsockname()
        self.host, self.port = ("", 0) if isinstance(name, str) else (str(name[0]), int(name[1]))
        reactor.register(sock.fileno(), self)

    def hold(self) -> None:
        self._is_held = True
        self._reactor.unregister(self._sock.fileno())

    def serve(self, on_client: OnClient) -> None:
        self._on_client = on_client
        self._is_held = False
        self._reactor.register(self._sock.fileno(), self)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            if not self._is_held:
                self._reactor.unregister(self._sock.fileno())
            self._sock.close()

    def ready(self, events: int) -> None:
        if events & READABLE:
            self._accept()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            if self._is_closed or self._is_paused or self._is_held:
                return
            try:
                client, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                self._reactor.expect_readable(self._sock.fileno())
                return
            except ConnectionAbortedError:
                continue  # the client left before it was let in
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                descriptors.note_none()
                self._pause()
                return
            if descriptors.note(client.fileno()):
                self._pause()  # after this one
            client.setblocking(False)
            self._on_client(client, (address[0], address[1]) if address else ("", 0))
        self._reactor.soon(self._accept)

    def _pause(self) -> None:
        """Clients wait in the backlog; what has ended meanwhile makes room for them."""
        self._is_paused = True
        self._reactor.loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._is_paused = False
        if self._is_closed:
            return
        if descriptors.look(self._sock.fileno()):
            self._pause()
        else:
            self._accept()
