"""Servers that abuse the protocol before a login: our deadline holds, and memory is bounded."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.ssh.clients import fails
from tests.support.hostile import HostileServer, Peer, ScriptedServer
from tests.support.memory import MIB, bounded_memory
from tests.support.tunnel import tunnel_to
from tests.support.waiting import BUSY
from tunnelctl import clock
from tunnelctl.errors import Code
from tunnelctl.ssh.packets.ciphers import PACKET_LENGTH_MAX
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message

Say = Callable[[bytes], None]
_MEMORY = 64 * MIB
_SECONDS = 1.0
_IN_TIME = _SECONDS + BUSY
_PROCESSOR_SECONDS = 4.0  # of both ends, which other load does not change

_BANNER = b"\x35" + messages.string("x" * 30_000) + messages.string("")


def waits_for_the_end(peer: Peer) -> None:
    """A script that only listens."""
    while peer.sock.recv(65_536):
        pass


def drips(connection: socket.socket) -> None:
    """A version line without an end, slowly."""
    pause = threading.Event()
    while not pause.wait(0.05):
        connection.sendall(b"x")


def pours(connection: socket.socket) -> None:
    """Lines before the version without an end: few enough a second not to be counted out."""
    pause = threading.Event()
    while not pause.wait(0.01):
        connection.sendall(b"welcome\r\n")


@pytest.mark.parametrize("script", [drips, pours])
def test_a_banner_without_an_end_is_left_in_time(script: Callable[[socket.socket], None]) -> None:
    with HostileServer(script) as server:
        began = clock.monotonic()
        failure = fails(Code.TIMED_OUT, server.host, seconds=_SECONDS)
        assert clock.monotonic() - began < _IN_TIME
    assert f"hostile (127.0.0.1:{server.port})" in failure.message
    assert failure.retryable


@pytest.mark.parametrize(
    "payload",
    [
        _BANNER,
        bytes((Message.IGNORE,)) + messages.string("x" * 30_000),
        bytes((Message.DEBUG,)) + b"\1" + messages.string("x" * 30_000) + messages.string(""),
    ],
    ids=["banners", "ignored messages", "messages for debugging"],
)
def test_a_login_that_is_talked_to_death_is_left(payload: bytes) -> None:
    def talk(say: Say) -> None:
        while True:
            say(payload)

    with ScriptedServer(waits_for_the_end, talk) as server, bounded_memory(_MEMORY):
        began = time.process_time()
        failure = fails(Code.HANDSHAKE_FAILED, server.host_with(), seconds=60)
        assert time.process_time() - began < _PROCESSOR_SECONDS
    assert f"hostile (127.0.0.1:{server.port})" in failure.message
    assert "says too much before the login" in failure.message
    assert failure.retryable


def test_questions_without_an_end_end_the_login() -> None:
    def ask(say: Say) -> None:
        while True:
            say(b"\x33" + messages.string("password") + b"\0")  # refused, before it was asked

    with ScriptedServer(waits_for_the_end, ask) as server, bounded_memory(_MEMORY):
        began = clock.monotonic()
        failure = fails(Code.HANDSHAKE_FAILED, server.host_with(), seconds=_SECONDS)
        assert clock.monotonic() - began < _IN_TIME
    assert f"hostile (127.0.0.1:{server.port})" in failure.message


def test_a_count_of_extensions_is_not_believed() -> None:
    def lie(say: Say) -> None:
        say(bytes((Message.EXT_INFO,)) + b"\xff\xff\xff\xff" + messages.string("x") * 2)

    with ScriptedServer(waits_for_the_end, lie) as server, bounded_memory(_MEMORY):
        began = time.process_time()
        failure = fails(Code.HANDSHAKE_FAILED, server.host_with(), seconds=30.0)
        assert time.process_time() - began < _PROCESSOR_SECONDS
    assert failure.retryable


async def test_many_extensions_are_no_reason_to_fail() -> None:
    def tell(say: Say) -> None:
        pairs = [messages.string(f"{n}@x") + messages.string("1") for n in range(16_000)]
        listed = b"".join(pairs)
        assert 200 * 1024 < len(listed) < PACKET_LENGTH_MAX
        say(bytes((Message.EXT_INFO,)) + messages.u32(len(pairs)) + listed)

    with ScriptedServer(waits_for_the_end, tell) as server, bounded_memory(_MEMORY):
        async with tunnel_to(server.host_with()) as tunnel:
            assert not tunnel.link.closed.done()


def test_a_login_that_was_not_asked_for_opens_nothing() -> None:
    def let_in(say: Say) -> None:
        say(bytes((Message.USERAUTH_SUCCESS,)))

    with ScriptedServer(waits_for_the_end, let_in) as server:
        failure = fails(Code.HANDSHAKE_FAILED, server.host_with(), seconds=30.0)
    assert failure.retryable


def test_a_disconnect_while_logging_in_is_quoted() -> None:
    def leave(say: Say) -> None:
        say(messages.disconnect(2, "not \x1b[31mtoday"))

    with ScriptedServer(waits_for_the_end, leave) as server:
        failure = fails(Code.HANDSHAKE_FAILED, server.host_with())
    assert r"not \x1b[31mtoday" in failure.message
