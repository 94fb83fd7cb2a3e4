"""What a server may say that we did not ask for: refused or passed over, and the link lives on."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from pathlib import Path

import pytest

from tests.support.clients import exchange, receive_exactly
from tests.support.hostile import Peer, ScriptedServer
from tests.support.memory import MIB, bounded_memory
from tests.support.services import EchoService, connect, receive, reset
from tests.support.threads import in_thread
from tests.support.tunnel import tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message, OpenFailure
from tunnelctl.wire.window import PACKET_MAX, WINDOW


def echoes(peer: Peer, number: int) -> None:
    """Send back what comes over the channel, and end it when the client does."""
    while True:
        payload = peer.receive()
        if payload[0] == Message.CHANNEL_DATA:
            peer.send(messages.channel_data(number, payload[9:]))
        elif payload[0] == Message.CHANNEL_EOF:
            peer.send(messages.channel_eof(number), messages.channel_close(number))
        elif payload[0] == Message.CHANNEL_CLOSE:
            return


def talk(port: int) -> str:
    """Exchange a few bytes, and end in order: how the other side ends."""
    with connect(port) as connection:
        assert exchange(connection, b"hello") == b"hello"
        connection.shutdown(socket.SHUT_WR)
        return receive(connection).end


async def test_unknown_messages_are_answered_by_their_number() -> None:
    # Not those of key exchange, which mean something at any time.
    kinds = [0, *range(8, 20), *range(50, 80), *range(101, 256)]

    def script(peer: Peer) -> None:
        number = peer.opened()
        for kind in kinds:
            sequence = peer.sequence
            peer.send(bytes((kind,)) + b"whatever")
            assert peer.expect(Message.UNIMPLEMENTED).u32() == sequence, kind
        echoes(peer, number)

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            assert await in_thread(talk, await tunnel.local(9)) == "fin"


async def test_noise_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    def script(peer: Peer) -> None:
        number = peer.opened()
        for _ in range(500):
            peer.send(
                bytes((Message.IGNORE,)) + messages.string("x" * 1000),
                bytes((Message.EXT_INFO,)) + b"\xff\xff\xff\xff" + messages.string("x") * 2,
                messages.unimplemented(3),
                messages.global_request("hostkeys-00@openssh.com", False, b"\xff" * 99),
                messages.channel_data(number, b""),
                messages.channel_window_adjust(number, 0),
            )
        peer.send(
            bytes((Message.DEBUG,)) + b"\1" + messages.string("a \x1b[2J b") + messages.string("")
        )
        peer.is_answered()
        keepalive = bytes((Message.CHANNEL_REQUEST,)) + messages.u32(number)
        peer.send(keepalive + messages.string("keepalive@openssh.com") + b"\1")
        peer.expect(Message.CHANNEL_FAILURE)
        echoes(peer, number)

    with ScriptedServer(script) as server, caplog.at_level(logging.WARNING, "tunnelctl.ssh"):
        async with tunnel_to(server.host_with()) as tunnel:
            assert await in_thread(talk, await tunnel.local(9)) == "fin"
    assert [record.getMessage() for record in caplog.records] == [
        f"hostile (127.0.0.1:{server.port}) says: a ?[2J b"
    ]


async def test_a_second_eof_changes_nothing() -> None:
    def script(peer: Peer) -> None:
        number = peer.opened()
        peer.expect(Message.CHANNEL_DATA)
        peer.send(messages.channel_data(number, b"world"), *[messages.channel_eof(number)] * 3)
        peer.expect(Message.CHANNEL_EOF)
        peer.send(messages.channel_close(number))
        peer.expect(Message.CHANNEL_CLOSE)

    def client(port: int) -> tuple[int, str]:
        with connect(port) as connection:
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            received = receive(connection)
            return received.size, received.end

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            assert await in_thread(client, await tunnel.local(9)) == (5, "fin")


async def test_what_came_before_the_end_of_the_connection_is_read_first() -> None:
    """More packets than a turn opens, and the connection is closed right behind them."""
    pieces = 3000

    def script(peer: Peer) -> None:
        number = peer.opened()
        peer.expect(Message.CHANNEL_DATA)
        peer.send(
            *[messages.channel_data(number, b"0123456789")] * pieces,
            messages.channel_eof(number),
            messages.channel_close(number),
            messages.disconnect(11, "that is all"),
        )

    def client(port: int) -> tuple[int, str]:
        with connect(port) as connection:
            connection.sendall(b"hello")
            received = receive(connection)
            return received.size, received.end

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            port = await tunnel.local(9)
            assert await in_thread(client, port) == (10 * pieces, "fin")
            assert "that is all" in (await tunnel.link.closed).message


def refuses(peer: Peer, kind: str, data: bytes = b"") -> None:
    """Ask for a channel, which is refused."""
    peer.send(messages.channel_open(kind, _THEIRS, WINDOW, PACKET_MAX, data))
    reader = peer.expect(Message.CHANNEL_OPEN_FAILURE)
    assert reader.u32() == _THEIRS
    assert reader.u32() == OpenFailure.ADMINISTRATIVELY_PROHIBITED, kind


async def test_channels_that_nobody_asked_for_are_refused() -> None:
    asked = threading.Event()
    served = threading.Event()

    def script(peer: Peer) -> None:
        for _ in range(2):  # a port, and a unix socket
            peer.expect(Message.GLOBAL_REQUEST)
            peer.send(bytes((Message.REQUEST_SUCCESS,)))
        assert asked.wait(20)
        for kind in ("session", "x11", "auth-agent@openssh.com", "tun@openssh.com", ""):
            refuses(peer, kind)
        origin = ("10.9.8.7", 6)
        refuses(peer, "direct-tcpip", messages.tcpip_open("127.0.0.1", 22, *origin))
        refuses(peer, "forwarded-tcpip", messages.tcpip_open("127.0.0.1", 4001, *origin))
        # The route of the unix socket is not one of TCP, nor the other way round.
        refuses(peer, "forwarded-tcpip", messages.tcpip_open("/there", 0, *origin))
        refuses(peer, "forwarded-tcpip", messages.tcpip_open("else", 0, *origin))
        path = messages.string("/elsewhere") + messages.string("")
        refuses(peer, "forwarded-streamlocal@openssh.com", path)
        refuses(peer, "forwarded-streamlocal@openssh.com", messages.string("127.0.0.1") * 2)
        # What was asked for is still served.
        data = messages.tcpip_open("127.0.0.1", 4000, *origin)
        peer.send(messages.channel_open("forwarded-tcpip", _THEIRS, WINDOW, PACKET_MAX, data))
        reader = peer.expect(Message.CHANNEL_OPEN_CONFIRMATION)
        assert reader.u32() == _THEIRS
        peer.send(messages.channel_data(reader.u32(), b"hello"))
        assert peer.expect(Message.CHANNEL_DATA).rest()[8:] == b"hello"
        served.set()

    with ScriptedServer(script) as server, EchoService() as echo:
        async with tunnel_to(server.host_with()) as tunnel:
            await tunnel.remote(echo.port, port=4000)
            await tunnel.remote(echo.port, listen=Endpoint(path="/there"))
            asked.set()
            assert await in_thread(served.wait, 20)
            assert tunnel.forward(0).counters.total == 1
            assert tunnel.forward(1).counters.total == 0


_THEIRS = 5  # the server's number of a channel that it asks for


async def test_data_on_its_way_to_a_client_that_left_reaches_nobody() -> None:
    def script(peer: Peer) -> None:
        gone = peer.opened()
        peer.expect(Message.CHANNEL_DATA)
        peer.expect(Message.CHANNEL_CLOSE)
        # All of this was under way when our CLOSE came.
        data = messages.channel_data(gone, b"\xee" * PACKET_MAX)
        peer.send(*[data] * 20, messages.channel_eof(gone), messages.channel_close(gone))
        echoes(peer, peer.opened())

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            port = await tunnel.local(9)
            leaving = connect(port)
            await eventually_async(lambda: tunnel.forward().counters.open == 1, "it is there")
            leaving.sendall(b"x")
            await eventually_async(lambda: tunnel.forward().counters.bytes_out == 1, "it is open")
            reset(leaving)
            assert await in_thread(talk, port) == "fin"


async def test_bytes_in_small_pieces_take_no_more_memory_than_in_large_ones(
    tmp_path: Path,
) -> None:
    small, large = 60_000, 20

    def script(peer: Peer) -> None:
        number = peer.opened()
        peer.send(*[messages.channel_data(number, bytes(PACKET_MAX))] * large)
        for _ in range(small // 500):
            peer.send(*[messages.channel_data(number, b"\1")] * 500)
            peer.send(*[messages.channel_data(number, b"")] * 500)
        peer.is_answered()
        sent.set()
        peer.expect(Message.CHANNEL_CLOSE)

    sent = threading.Event()
    path = str(tmp_path / "s")  # a unix socket holds little of what is not read
    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            await tunnel.local(9, listen=Endpoint(path=path))
            with socket.socket(socket.AF_UNIX) as client, bounded_memory(8 * MIB):
                client.settimeout(30)
                client.connect(path)
                assert await in_thread(sent.wait, 30)
                total = large * PACKET_MAX + small
                data = await in_thread(receive_exactly, client, total)
                assert data == bytes(large * PACKET_MAX) + b"\1" * small


@pytest.mark.parametrize("packet_max", [1, 3, PACKET_MAX])
async def test_a_window_that_opens_late_loses_nothing_of_a_socks_client(packet_max: int) -> None:
    early = bytes(range(256)) + b"behind the request"

    def script(peer: Peer) -> None:
        number = peer.opened(window=0, packet_max=packet_max)
        peer.is_answered()
        got = b""
        while len(got) < len(early):
            peer.send(messages.channel_window_adjust(number, 7))
            reader = peer.expect(Message.CHANNEL_DATA)
            reader.u32()
            piece = reader.string()
            assert len(piece) <= min(packet_max, 7)
            got += piece
        assert got == early
        arrived.set()

    arrived = threading.Event()
    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            port = await tunnel.local(None)
            with connect(port) as client:
                request = b"\5\1\0" + b"\5\1\0\3\2db\0\1"
                client.sendall(request + early)
                assert await in_thread(receive_exactly, client, 2) == b"\5\0"
                assert await in_thread(arrived.wait, 20)


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        # Some services grant "any port" and do not say which. They speak SSH, but must be told one.
        (b"", Code.FORWARD_DENIED, "does not report which port"),
        (b"\0\0", Code.SESSION_LOST, "hostile (127.0.0.1:"),
        (messages.u32(0), Code.SESSION_LOST, "hostile (127.0.0.1:"),
        (messages.u32(70_000), Code.SESSION_LOST, "hostile (127.0.0.1:"),
    ],
)
async def test_a_port_that_is_none_is_no_listener(reply: bytes, code: Code, said: str) -> None:
    def script(peer: Peer) -> None:
        peer.expect(Message.GLOBAL_REQUEST)
        peer.send(bytes((Message.REQUEST_SUCCESS,)) + reply)
        peer.is_answered()

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            with pytest.raises(Failure) as caught:
                await tunnel.remote(9)
            assert caught.value.code is code
            assert said in caught.value.message


async def test_a_disconnect_ends_a_request_that_waits() -> None:
    def script(peer: Peer) -> None:
        peer.expect(Message.GLOBAL_REQUEST)
        peer.send(messages.disconnect(11, "shutting down"))

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            with pytest.raises(Failure, match="shutting down") as caught:
                await tunnel.remote(9)
            assert caught.value.code is Code.SESSION_LOST


async def test_a_listener_that_nobody_waits_for_any_more_is_taken_back() -> None:
    asked, answer = threading.Event(), threading.Event()
    taken_back = threading.Event()

    def script(peer: Peer) -> None:
        assert peer.expect(Message.GLOBAL_REQUEST).text() == "tcpip-forward"
        asked.set()
        assert answer.wait(20)
        peer.send(bytes((Message.REQUEST_SUCCESS,)) + messages.u32(4000))
        reader = peer.expect(Message.GLOBAL_REQUEST)
        assert reader.text() == "cancel-tcpip-forward"
        assert reader.boolean()
        assert (reader.text(), reader.u32()) == ("127.0.0.1", 4000)
        taken_back.set()

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            opening = asyncio.ensure_future(tunnel.remote(9))
            assert await in_thread(asked.wait, 20)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            answer.set()
            assert await in_thread(taken_back.wait, 20)
