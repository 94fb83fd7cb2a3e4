"""Servers that announce a client otherwise than it was asked for (RFC 4254 section 7.2): it gets to
the forward that it came for, where that is sure, and to no other one ever."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clients import exchange
from tests.support.hostile import Peer, ScriptedServer
from tests.support.servers import running
from tests.support.servers.conch import ConchServer
from tests.support.services import EchoService, connect, receive
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, rule, tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Side
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message, OpenFailure, Reader
from tunnelctl.wire.window import PACKET_MAX, WINDOW

PORT = 7777


class OlderConch(ConchServer):
    """As it was when it could tell a port that it chose; what is built on it can, today too."""

    options = ("older",)


def _talk(port: int) -> bytes:
    with connect(port) as connection:
        return exchange(connection, b"hello")


def _is_refused(port: int) -> bool:
    """Whether a client is sent away without a byte."""
    try:
        with connect(port) as connection:
            return receive(connection).size == 0
    except ConnectionResetError:
        return True


async def _listen(tunnel: Tunnel, host: str, port: int, target: int) -> int:
    wanted = rule(Side.THERE, 0, target, listen=Endpoint(host, port))
    return (await tunnel.add(wanted)).port


@pytest.mark.parametrize("host", [LOOPBACK, "localhost", "*"])
async def test_conch_announces_port_0_for_the_port_that_it_chose(host: str, tmp_path: Path) -> None:
    with running(OlderConch, tmp_path) as server, EchoService() as echo:
        async with tunnel_to(server.host()) as tunnel:
            port = await _listen(tunnel, host, 0, echo.port)
            assert await in_thread(_talk, port) == b"hello"
            # Beside it, one whose port was named.
            named = await _listen(tunnel, host, server.port + 1, echo.port)
            assert await in_thread(_talk, named) == b"hello"
            assert await in_thread(_talk, port) == b"hello"


async def test_of_two_ports_that_it_chose_nobody_guesses(tmp_path: Path) -> None:
    with (
        running(OlderConch, tmp_path) as server,
        EchoService() as echo,
        EchoService() as other,
    ):
        async with tunnel_to(server.host()) as tunnel:
            ports = [await _listen(tunnel, LOOPBACK, 0, s.port) for s in (echo, other)]
            for port in ports:
                assert await in_thread(_is_refused, port)
            assert echo.accepted == other.accepted == 0
            assert {failure.code for failure in tunnel.failures} == {Code.FORWARD_DENIED}
            assert "which of its forwards" in tunnel.failures[0].message
            assert "a port of its own" in tunnel.failures[0].hint


async def test_conch_listens_no_more_for_one_that_is_withdrawn(tmp_path: Path) -> None:
    with (
        running(OlderConch, tmp_path) as server,
        EchoService() as echo,
        EchoService() as other,
    ):
        async with tunnel_to(server.host()) as tunnel:
            gone = await _listen(tunnel, LOOPBACK, 0, echo.port)
            await tunnel.forward().close(0)
            await in_thread(_until_refused, gone)
            port = await _listen(tunnel, LOOPBACK, 0, other.port)
            assert await in_thread(_talk, port) == b"hello"
            assert (echo.accepted, other.accepted) == (0, 1)


def _until_refused(port: int) -> None:
    while True:
        try:
            with contextlib.suppress(ConnectionResetError):  # in the moment of its end
                connect(port).close()
        except ConnectionRefusedError:
            return


# By a script: each step is a listener that is asked for, or given up, or a client.


def _grants(peer: Peer, port: int | None = None) -> None:
    """Say yes to the next request; `port` is what was chosen."""
    while True:
        reader = peer.expect(Message.GLOBAL_REQUEST)
        name = reader.text()
        if name.endswith("tcpip-forward"):
            break
        peer.send(bytes((Message.REQUEST_FAILURE,)))
    chosen = b"" if port is None else messages.u32(port)
    peer.send(bytes((Message.REQUEST_SUCCESS,)) + chosen)


def _announces(peer: Peer, address: str, port: int) -> int:
    """Bring a client for that address: 0, or the reason for which it is refused."""
    where = messages.tcpip_open(address, port, "192.0.2.1", 4242)
    peer.send(messages.channel_open("forwarded-tcpip", 7, WINDOW, PACKET_MAX, where))
    while True:
        payload = peer.receive()
        if payload[0] == Message.CHANNEL_OPEN_CONFIRMATION:
            theirs = Reader(payload, 5).u32()
            peer.send(messages.channel_close(theirs))
            peer.expect(Message.CHANNEL_CLOSE)
            return 0
        if payload[0] == Message.CHANNEL_OPEN_FAILURE:
            return Reader(payload, 5).u32()


class _Announced:
    """What became of the clients of a script, by what they were announced with."""

    def __init__(self, steps: Callable[[Peer, _Announced], None]) -> None:
        self.refused: list[tuple[str, int]] = []
        self.over = False
        self._steps = steps

    def __call__(self, peer: Peer) -> None:
        self._steps(peer, self)
        self.over = True
        peer.is_answered()

    def come(self, peer: Peer, address: str, port: int) -> None:
        """Bring a client."""
        reason = _announces(peer, address, port)
        if reason:
            assert reason == OpenFailure.ADMINISTRATIVELY_PROHIBITED
            self.refused.append((address, port))


async def test_an_address_that_it_was_resolved_to_is_the_same_port() -> None:
    def steps(peer: Peer, told: _Announced) -> None:
        _grants(peer)
        told.come(peer, "127.0.0.1", PORT)
        told.come(peer, "::1", PORT)
        told.come(peer, "localhost", PORT)
        told.come(peer, "localhost", PORT + 1)
        told.come(peer, "localhost", 0)

    script = _Announced(steps)
    with ScriptedServer(script) as server, EchoService() as echo:
        async with tunnel_to(server.host_with()) as tunnel:
            await _listen(tunnel, "localhost", PORT, echo.port)
            await eventually_async(lambda: script.over, "all have come")
            assert script.refused == [("localhost", PORT + 1), ("localhost", 0)]
            await eventually_async(lambda: echo.accepted == 3, "three were served")


async def test_one_port_at_two_addresses_is_told_apart_by_the_address_alone() -> None:
    def steps(peer: Peer, told: _Announced) -> None:
        _grants(peer)
        _grants(peer)
        told.come(peer, "10.0.0.1", PORT)
        told.come(peer, "10.0.0.2", PORT)
        told.come(peer, "10.0.0.2", PORT)
        told.come(peer, "server.example", PORT)

    script = _Announced(steps)
    with ScriptedServer(script) as server, EchoService() as one, EchoService() as two:
        async with tunnel_to(server.host_with()) as tunnel:
            await _listen(tunnel, "10.0.0.1", PORT, one.port)
            await _listen(tunnel, "10.0.0.2", PORT, two.port)
            await eventually_async(lambda: script.over, "all have come")
            assert script.refused == [("server.example", PORT)]
            await eventually_async(
                lambda: (one.accepted, two.accepted) == (1, 2), "three were served"
            )
            assert {failure.code for failure in tunnel.failures} == {Code.FORWARD_DENIED}


@pytest.mark.parametrize("port", [0, PORT])
async def test_a_late_client_of_one_that_is_gone_gets_to_no_other(port: int) -> None:
    """The server was told to listen no more; what it had taken before is still announced."""

    def steps(peer: Peer, told: _Announced) -> None:
        chosen = None if port else PORT
        _grants(peer, chosen)
        _grants(peer)  # its end
        _grants(peer, chosen if chosen is None else chosen + 1)
        told.come(peer, "10.0.0.1", PORT)
        told.come(peer, "10.0.0.2", PORT if port else PORT + 1)

    script = _Announced(steps)
    with ScriptedServer(script) as server, EchoService() as one, EchoService() as two:
        async with tunnel_to(server.host_with()) as tunnel:
            await _listen(tunnel, "10.0.0.1", port, one.port)
            await tunnel.forward().close(0)
            await _listen(tunnel, "10.0.0.2", port, two.port)
            await eventually_async(lambda: script.over, "all have come")
            assert script.refused == [("10.0.0.1", PORT)]
            await eventually_async(lambda: (one.accepted, two.accepted) == (0, 1), "one was served")
