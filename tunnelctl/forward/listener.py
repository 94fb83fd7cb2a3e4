"""Listeners on this machine: accept clients on the sockets that listening.py has bound.

Owns the listening sockets, and the pause when the process is out of file descriptors. Must never
block the loop, and never spin when accepting fails.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Callable
from typing import Final

from tunnelctl.errors import Failure
from tunnelctl.forward.listening import Listening, is_quick, listen
from tunnelctl.forward.sentences import port_in_use_by_forward
from tunnelctl.forward.unavailable import why_not
from tunnelctl.net.addresses import collide
from tunnelctl.net.descriptors import descriptors
from tunnelctl.net.reactor import READABLE, Handler, Reactor
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.endpoint import WILDCARDS, Endpoint

# Clients that are accepted in a row before other work gets its turn.
_ACCEPTS_A_TURN: Final = 64
_PAUSE_SECONDS: Final = 0.5
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_REMOVED_WITHIN: Final = 2.0  # seconds that a close waits for a disk

# The client's socket, and its address for the server's log.
OnClient = Callable[[socket.socket, tuple[str, int]], None]


class Listener:
    """All sockets of one endpoint. `owner` is PROFILE/FORWARD, for messages about a port in use."""

    def __init__(
        self, reactor: Reactor, listening: Listening, on_client: OnClient, owner: str = ""
    ) -> None:
        self.owner = owner
        self.endpoint = listening.endpoint
        self._loop = reactor.loop
        self._when_closed: list[Callable[[], None]] = []
        self._listening = listening
        self._doors = [_Door(reactor, sock, on_client) for sock in listening.sockets]
        self._removal: asyncio.Future[None] | None = None
        _open_listeners.add(self)

    @classmethod
    def open_quickly(
        cls, reactor: Reactor, endpoint: Endpoint, on_client: OnClient, owner: str = ""
    ) -> Listener | None:
        """Listen at once. None if that could block or fails; `open` then gives the reason."""
        if not is_quick(endpoint):
            return None
        try:
            return cls(reactor, listen(endpoint), on_client, owner)
        except OSError:
            return None

    @classmethod
    async def open(
        cls, reactor: Reactor, endpoint: Endpoint, on_client: OnClient, owner: str = ""
    ) -> Listener:
        """Listen on `endpoint`, see listening.py. Cancelling leaves nothing open.

        Raises:
            Failure: port-in-use with whoever holds it, permission-denied, or name-not-found, of a
                host as of a folder.
        """
        try:
            if is_quick(endpoint):
                listening = listen(endpoint)
            else:
                listening = await _ListenApart(endpoint).listening()
        except OSError as error:
            raise await _failure(endpoint, error) from None
        return cls(reactor, listening, on_client, owner)

    @property
    def doors(self) -> tuple[_Door, ...]:
        """The addresses of the sockets."""
        return tuple(self._doors)

    def keeps_out(self, endpoint: Endpoint) -> bool:
        """Whether nobody else can listen there at the same time."""
        if endpoint.is_unix or self.endpoint.is_unix:
            return endpoint == self.endpoint
        same_port = endpoint.port == self.endpoint.port
        return same_port and collide(self.endpoint.host, endpoint.host)

    @property
    def is_in_place(self) -> bool:
        """Whether clients can find it: the file of a unix socket may be removed or replaced.
        Blocking, because the file may be on a disk that hangs; may be called from any thread."""
        return self._listening.is_in_place

    def hold(self) -> None:
        """Leave clients in the backlog until `serve`."""
        for door in self._doors:
            door.hold()

    def serve(self, on_client: OnClient) -> None:
        """Pass clients to another function from now on."""
        for door in self._doors:
            door.serve(on_client)

    def close(self) -> None:
        """Stop listening. The file of a unix socket is removed too, if it is ours; `closed` waits
        for that."""
        _open_listeners.discard(self)
        for door in self._doors:
            door.close()
        self._doors.clear()
        if self._listening.file is None:
            self._free()
        elif self._removal is None:
            self._removal = in_thread(self._listening.remove_file, f"remove {self.endpoint}")
            self._removal.add_done_callback(lambda _: self._free())

    async def closed(self) -> None:
        """Wait until the file is removed, but not forever, because its disk may hang."""
        if self._removal is not None:
            await asyncio.wait([self._removal], timeout=_REMOVED_WITHIN)

    def when_closed(self, call: Callable[[], None]) -> None:
        """Call this once when the address is free again."""
        self._when_closed.append(call)

    def _free(self) -> None:
        freed, self._when_closed = self._when_closed, []
        for call in freed:
            self._loop.call_soon(call)


class _ListenApart:
    """Listening in a thread, which closes what nobody wants any more: the loop may have ended."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._made: Listening | None = None
        self._is_wanted = True

    async def listening(self) -> Listening:
        try:
            return await in_thread(self._listen, f"listen on {self._endpoint}")
        except asyncio.CancelledError:
            with self._lock:
                self._is_wanted = False
                made = self._made
            if made is not None:
                made.close()
            raise

    def _listen(self) -> Listening:
        made = listen(self._endpoint)
        with self._lock:
            self._made = made
            is_wanted = self._is_wanted
        if not is_wanted:
            made.close()
        return made


# Until they are closed. A compiled class has no weak references.
_open_listeners: Final[set[Listener]] = set()


def listens_here(address: Endpoint) -> bool:
    """Whether this process listens on that address, itself or as part of a wildcard."""
    return any(
        door.port == address.port
        and (door.host == address.host or (door.host in WILDCARDS and is_own(address.host)))
        for listener in _open_listeners
        for door in listener.doors
    )


def owner_of(endpoint: Endpoint) -> str | None:
    """The owner of the listener in this process that occupies that endpoint, or None."""
    keeper = keeper_of(endpoint)
    return None if keeper is None else keeper.owner


def keeper_of(endpoint: Endpoint) -> Listener | None:
    """The listener in this process that occupies that endpoint, or None."""
    return next((one for one in _open_listeners if one.keeps_out(endpoint)), None)


def is_own(host: str) -> bool:
    """Whether an address belongs to this machine; others cannot be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


async def _failure(endpoint: Endpoint, error: OSError) -> Failure:
    if error.errno == errno.EADDRINUSE and (owner := owner_of(endpoint)):
        # Without reading /proc, which may show nothing.
        return port_in_use_by_forward(endpoint, owner)
    # Where many processes run, searching all of them takes long.
    return await in_thread(lambda: why_not(endpoint, error), f"why not {endpoint}")


class _Door(Handler):
    """One listening socket.

    A client that comes alone is accepted without a second accept, which would cost as much only to
    find none. If more clients wait, the next turn reports it, and then all are accepted.
    """

    def __init__(self, reactor: Reactor, sock: socket.socket, on_client: OnClient) -> None:
        self._reactor = reactor
        self._sock = sock
        self._on_client = on_client
        self._is_closed = False
        self._is_paused = False
        self._is_held = False
        self._turn = -1  # the turn of the reactor in which a client last came
        name = sock.getsockname()
        self.host, self.port = ("", 0) if isinstance(name, str) else (str(name[0]), int(name[1]))
        reactor.register_listener(sock.fileno(), self)

    @property
    def _takes_clients(self) -> bool:
        return not (self._is_closed or self._is_paused or self._is_held)

    def hold(self) -> None:
        self._is_held = True
        self._reactor.unregister(self._sock.fileno())

    def serve(self, on_client: OnClient) -> None:
        self._on_client = on_client
        self._is_held = False
        if not self._is_paused:
            self._reactor.register_listener(self._sock.fileno(), self)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._reactor.unregister(self._sock.fileno())
            self._sock.close()

    def ready(self, events: int) -> None:
        if events & READABLE:
            turn = self._reactor.turns
            many_come, self._turn = turn == self._turn + 1, turn
            self._accept(_ACCEPTS_A_TURN if many_come else 1)

    def _accept(self, count: int) -> None:
        """Accept up to so many clients."""
        for _ in range(count):
            if not self._takes_clients:
                return
            try:
                client, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionAbortedError:
                continue  # the client left before it was accepted
            except OSError as error:
                self._pause()
                if error.errno not in _EXHAUSTED:
                    raise
                descriptors.note_none()
                return
            if descriptors.note(client.fileno()):
                self._pause()  # after this one
            client.setblocking(False)
            self._on_client(client, (address[0], address[1]) if address else ("", 0))
        if self._takes_clients:
            self._reactor.expect_readable(self._sock.fileno())

    def _pause(self) -> None:
        """Clients wait in the backlog; connections that end meanwhile free descriptors for them."""
        self._is_paused = True
        self._reactor.unregister(self._sock.fileno())
        self._reactor.loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._is_paused = False
        if self._is_closed:
            return
        if descriptors.look(self._sock.fileno()):
            self._pause()
        elif not self._is_held:
            self._reactor.register_listener(self._sock.fileno(), self)
