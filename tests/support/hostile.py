"""SSH servers that break the rules, each connection by a script in a thread.

`HostileServer` hands the script a bare socket: for abuse before a login. `ScriptedServer` lets
any client in first, by paramiko in server mode, and then hands the script a `Peer`: any message
in any order, sealed as the client expects it, and raw bytes besides.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import paramiko
from paramiko.common import AUTH_SUCCESSFUL

from tests.support.services import DEADLINE
from tunnelctl import clock
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.packets.ciphers import Opener, Sealer
from tunnelctl.ssh.packets.handover import Direction, PacketState
from tunnelctl.ssh.packets.transport import SshTransport
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message, Reader
from tunnelctl.wire.window import PACKET_MAX, WINDOW

_CHUNK = 65_536


class HostileServer:
    """A server at `address` whose every connection is handled by `script`, in a thread.

    What the script raises is raised again at the end, unless the client had left.
    """

    def __init__(self, script: Callable[[socket.socket], None], address: str = "127.0.0.1") -> None:
        self._script = script
        self._listener = socket.create_server((address, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._errors: list[Exception] = []
        self._acceptor = threading.Thread(target=self._accept, name="hostile server")

    @property
    def host(self) -> Host:
        """How to reach it."""
        return Host(
            name="hostile",
            hostname="127.0.0.1",
            port=self.port,
            user="somebody",
            identity_agent="none",
            user_known_hosts_file=("/nonexistent/known_hosts",),
        )

    def takes_little(self) -> None:
        """From now on, let the kernel hold little of what a script does not read."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for connection in self._connections:
            # A script that still sends may find the kernel of a client that left without an answer.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._connections:
            connection.close()
        if self._errors:
            raise self._errors[0]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(DEADLINE)
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="hostile")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._script(connection)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(_CHUNK):  # until the client has closed: FIN, not RST
                pass
        except Exception as error:
            if isinstance(error, OSError | EOFError) and not isinstance(error, TimeoutError):
                return  # the client gave up, as it should
            self._errors.append(error)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # nobody shall wait for it


BeforeLogin = Callable[[Callable[[bytes], None]], None]
MakeTransport = Callable[[socket.socket], SshTransport]


class Peer:
    """The server's side of a session, after the login."""

    def __init__(self, sock: socket.socket, state: PacketState) -> None:
        self.sock = sock
        self._state = state
        self._buffer = bytearray(state.unread)
        self._left: deque[bytes] = deque()

    def send(self, *payloads: bytes) -> None:
        """Send these messages."""
        self.sock.sendall(b"".join(map(self.seal, payloads)))

    def seal(self, payload: bytes) -> bytes:
        """The next packet, which the caller sends, or not."""
        state = self._state
        packet = state.sealer.seal(payload, state.sent)
        state.sent += 1
        return packet

    @property
    def sequence(self) -> int:
        """The number of the packet that is sealed next."""
        return self._state.sent

    @property
    def read(self) -> int:
        """The number of the packet that was read last."""
        return self._state.received - 1

    def receive(self) -> bytes:
        """The client's next message, those first that `expect` left.

        Raises:
            EOFError: it closed the connection.
        """
        return self._left.popleft() if self._left else self._read()

    def _read(self) -> bytes:
        state = self._state
        while True:
            came = len(self._buffer)
            size = state.opener.size(memoryview(self._buffer), 0, came, state.received)
            if size and size <= len(self._buffer):
                break
            data = self.sock.recv(_CHUNK)
            if not data:
                raise EOFError
            self._buffer += data
        packet = bytes(self._buffer[:size])
        del self._buffer[:size]
        room = memoryview(bytearray(size))
        payload = bytes(state.opener.open(memoryview(packet), 0, size, state.received, room))
        state.received += 1
        return payload

    def expect(self, kind: Message) -> Reader:
        """The client's next message of that kind; others are left for later."""
        found = next((payload for payload in self._left if payload[0] == kind), None)
        if found is not None:
            self._left.remove(found)
            return Reader(found, 1)
        while (payload := self._read())[0] != kind:
            self._left.append(payload)
        return Reader(payload, 1)

    def opened(self, *, window: int = WINDOW, packet_max: int = PACKET_MAX) -> int:
        """Confirm the client's next open, as number 7 of ours; its own number."""
        number = self.asked_to_open()
        self.send(messages.channel_open_confirmation(number, 7, window, packet_max))
        return number

    def asked_to_open(self) -> int:
        """The number of the client's next open, which the caller answers."""
        reader = self.expect(Message.CHANNEL_OPEN)
        reader.text()
        return reader.u32()

    def is_answered(self) -> None:
        """Return once the client has answered a question, so that it has read all before it."""
        self.send(messages.global_request("are you there", True))
        self.expect(Message.REQUEST_FAILURE)


class ScriptedServer(HostileServer):
    """Lets anybody in, then follows the script. `before_login(say)` runs as soon as there are
    keys, before the client has asked for anything; `say` sends a message. `version` is what it
    calls itself, without "SSH-2.0-"; `make` makes the Transport that does the handshake."""

    def __init__(
        self,
        script: Callable[[Peer], None],
        before_login: BeforeLogin | None = None,
        version: str = "Scripted",
        make: MakeTransport = SshTransport,
    ) -> None:
        self._version = version
        self._make = make
        self._key = paramiko.ECDSAKey.generate()
        self._before_login = before_login
        super().__init__(functools.partial(self._after_login, script))

    def host_with(self, **changes: Any) -> Host:
        """How to reach it, its key pinned; it is never asked for signs of life unless said."""
        return dataclasses.replace(
            self.host, **{"host_key": (self.pin,), "server_alive_interval": 0.0, **changes}
        )

    @property
    def pin(self) -> str:
        """Its key as `host_key` in a profile has it."""
        return fingerprint(self._key.asbytes())

    @property
    def host_key(self) -> str:
        """Its public key as known_hosts has it."""
        return f"{self._key.get_name()} {self._key.get_base64()}"

    def _after_login(self, script: Callable[[Peer], None], connection: socket.socket) -> None:
        transport = self._make(connection)
        transport.local_version = f"SSH-2.0-{self._version}"
        with _login(transport, connection, self._key, self._before_login) as peer:
            script(peer)


class _Anybody(paramiko.ServerInterface):
    def get_allowed_auths(self, username: str) -> str:
        return "none"

    def check_auth_none(self, username: str) -> int:
        return AUTH_SUCCESSFUL


class _Nobody:
    """The loop's side of a packetizer whose packets a script sends and receives."""

    def post_message(self, payload: bytes) -> None:
        """See LoopSide."""

    def post_sealer(self, sealer: Sealer) -> None:
        """See LoopSide."""

    def post_opener(self, opener: Opener) -> None:
        """See LoopSide."""

    def post_sequence_reset(self, direction: Direction) -> None:
        """See LoopSide."""

    def post_ready(self) -> None:
        """See LoopSide."""

    def post_ended(self) -> None:
        """See LoopSide."""


@contextmanager
def _login(
    transport: SshTransport,
    connection: socket.socket,
    key: paramiko.PKey,
    before: BeforeLogin | None,
) -> Iterator[Peer]:
    """Let a client in; EOFError when it left before."""
    transport.deadline = clock.monotonic() + DEADLINE
    transport.add_server_key(key)
    parked = threading.Event()

    def say(payload: bytes) -> None:
        if _has_left(connection):  # our packetizer would go on without a word
            raise EOFError
        transport.packetizer.send_message(paramiko.Message(payload))

    if before is not None:
        _after_keys(transport, functools.partial(before, say))
    try:
        transport.start_server(threading.Event(), _Anybody())
        transport.packetizer.when_parked(parked.set)
        while not parked.wait(0.05):
            if not transport.is_alive():
                raise EOFError
        transport.give_up_socket()
        connection.settimeout(DEADLINE)  # paramiko had its own
        yield Peer(connection, transport.packetizer.take_over(_Nobody()))
    finally:
        transport.packetizer.end()
        transport.join(DEADLINE)


def _has_left(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))  # POLLHUP or POLLERR, which are always told


def _after_keys(transport: SshTransport, then: Callable[[], None]) -> None:
    """Call `then` in the transport's thread, once both sides have switched to their keys."""
    handlers = transport._handler_table
    handle = handlers[Message.NEWKEYS]

    def handle_and_go_on(message: paramiko.Message) -> None:
        handle(message)
        then()

    handlers[Message.NEWKEYS] = handle_and_go_on
