"""One server that says more than anybody wants to hear: it holds up no other tunnel, keeps nobody
from the control socket, and does not drive the first lines out of the log."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable

import pytest

from tests.daemon.conftest import Api
from tests.support.clients import exchange
from tests.support.hostile import Peer, ScriptedServer
from tests.support.services import EchoService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, tunnel_text
from tunnelctl import clock
from tunnelctl.home.paths import Paths
from tunnelctl.ssh.server_debug import AT_ONCE, log_said
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message
from tunnelctl.wire.window import PACKET_MAX, WINDOW

_ECHOES = 20
_AT_ONCE = 20_000  # messages that are sealed and sent in one go: much more than a turn's work


def _of(kind: Message, channel: int, rest: bytes = b"") -> bytes:
    return bytes((kind,)) + messages.u32(channel) + rest


def _debug(_: int) -> bytes:
    return bytes((Message.DEBUG, 1)) + messages.string("look at me") + messages.string("")


def _long_debug(_: int) -> bytes:
    return bytes((Message.DEBUG, 1)) + messages.string("x" * 4_000) + messages.string("")


def _adjust(channel: int) -> bytes:
    return messages.channel_window_adjust(channel, 1)


def _request(channel: int) -> bytes:
    return _of(Message.CHANNEL_REQUEST, channel, messages.string("dance") + b"\1")


def _nothing(channel: int) -> bytes:
    return messages.channel_data(channel, b"")


def _nothing_extended(channel: int) -> bytes:
    return _of(Message.CHANNEL_EXTENDED_DATA, channel, messages.u32(1) + messages.string(""))


FLOODS: dict[str, Callable[[int], bytes]] = {
    "DEBUG": _debug,
    "long DEBUG": _long_debug,
    "IGNORE": lambda _: bytes((Message.IGNORE,)) + messages.string(""),
    "UNIMPLEMENTED": lambda _: bytes((Message.UNIMPLEMENTED,)) + messages.u32(1),
    "unknown messages": lambda _: b"\xc1",
    "requests": lambda _: messages.global_request("dance", True),
    "opens": lambda _: messages.channel_open("session", 1, 1, PACKET_MAX, b""),
    "windows": _adjust,
    "channel requests": _request,
    "empty data": _nothing,
    "empty extended data": _nothing_extended,
    "single bytes": lambda channel: messages.channel_data(channel, b"x"),
}


class Flood:
    """A server's script: confirm the client's open, then say the same without end.

    Of single bytes no more than the client's window takes, whose reader is asleep.
    """

    def __init__(self, message: Callable[[int], bytes]) -> None:
        self.sent = 0
        self._message = message
        self._over = threading.Event()

    def __call__(self, peer: Peer) -> None:
        message = self._message(peer.opened())
        # Answers are taken off the socket: a client that is asked for more than is read leaves.
        taker = threading.Thread(target=_take, args=(peer.sock,))
        taker.start()
        try:
            while not self._over.is_set() and self.sent + _AT_ONCE <= WINDOW:
                peer.sock.sendall(b"".join(peer.seal(message) for _ in range(_AT_ONCE)))
                self.sent += _AT_ONCE
            self._over.wait()
        finally:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
            taker.join()

    def end(self) -> None:
        """Close the connection."""
        self._over.set()


def _take(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(1 << 20):
            pass


@pytest.fixture
def api(paths: Paths) -> Api:
    """The control API of the daemon that a test starts."""
    return Api(paths.socket)


@pytest.mark.parametrize("flood", FLOODS)
def test_it_holds_up_nobody_and_keeps_the_log(
    world: World, sshd: OpenSSHServer, paths: Paths, api: Api, flood: str
) -> None:
    script = Flood(FLOODS[flood])
    with EchoService() as echo, ScriptedServer(script) as server:
        world.tunnel(sshd, good=f"local: 0, to: {echo.port}")
        world.profile(
            "bad",
            tunnel_text(
                f"{{hostname: 127.0.0.1, port: {server.port}, user: somebody, "
                f'identity_agent: none, host_key: "{server.pin}"}}',
                bad="local: 0, to: 9",
            ),
        )
        world.ok("up", "dev", "bad", "-d")
        ports = [int(world.ok("port", name).rpartition(":")[2]) for name in ("dev/good", "bad/bad")]
        try:
            with connect(ports[0]) as good, connect(ports[1]):
                eventually(lambda: script.sent, "it floods")
                before = script.sent
                for number in range(_ECHOES):
                    message = b"%d there?" % number
                    assert exchange(good, message) == message
                    assert api.ask("GET", "/healthz").status == 200
                eventually(lambda: script.sent > before, "it floods still")
        finally:
            script.end()
    lines = paths.log_file.read_text().splitlines()
    assert "is ready" in lines[0]
    said = [line for line in lines if "look at me" in line or "xxxx" in line]
    assert len(said) <= 2 * AT_ONCE
    assert ("DEBUG" in flood) == bool(said)
    assert sum(map(len, lines)) < 100_000


def test_what_a_server_says_is_counted_and_has_no_new_beginning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    for _ in range(10):  # links of one host
        for number in range(1_000):
            log_said("one (10.0.0.1:22)", f"line {number}", logging.WARNING)
    log_said("another (10.0.0.2:22)", "me too", logging.WARNING)
    now += 61.0
    log_said("one (10.0.0.1:22)", "a minute later", logging.WARNING)
    first = [f"one (10.0.0.1:22) says: line {number}" for number in range(AT_ONCE)]
    left_out = 10_000 - AT_ONCE
    assert caplog.messages == [
        *first,
        "another (10.0.0.2:22) says: me too",
        f"one (10.0.0.1:22) says: a minute later ({left_out} more before it)",
    ]
