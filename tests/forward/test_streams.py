"""Bytes through a forward against OpenSSH's own server: all of them, in order, and both ends."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.support.clients import ask, download, exchange, receive_exactly, upload
from tests.support.services import (
    EchoService,
    Received,
    ReplyAfterEndService,
    SinkService,
    SourceService,
    SpeakFirstService,
    Stream,
    connect,
    receive,
)
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, tunnel_to
from tests.support.waiting import eventually
from tunnelctl.spec.forward import Side

MIB = 1024 * 1024
BOTH_SIDES = pytest.mark.parametrize("side", list(Side))


async def listen(tunnel: Tunnel, side: Side, target: int) -> int:
    """A forward to `target` that listens here or there; both are 127.0.0.1."""
    return await (tunnel.local(target) if side is Side.HERE else tunnel.remote(target))


@BOTH_SIDES
async def test_a_long_stream_arrives_whole_each_way(sshd: OpenSSHServer, side: Side) -> None:
    stream = Stream(256 * MIB, seed=7)
    with SinkService() as sink, SourceService(stream) as source:
        async with tunnel_to(sshd.host()) as tunnel:
            up = await listen(tunnel, side, sink.port)
            sent = await in_thread(upload, up, stream)
            assert await in_thread(sink.received) == Received(stream.size, sent, "fin")
            counters = tunnel.forward().counters
            assert (counters.total, counters.open, counters.failed) == (1, 0, 0)
            assert stream.size in (counters.bytes_in, counters.bytes_out)
            down = await listen(tunnel, side, source.port)
            assert await in_thread(download, down) == Received(stream.size, sent, "fin")


@BOTH_SIDES
@pytest.mark.parametrize("use_epoll", [None, False])
async def test_both_directions_at_once(
    sshd: OpenSSHServer, side: Side, use_epoll: bool | None
) -> None:
    stream = Stream(64 * MIB, seed=3)
    with EchoService() as echo:
        async with tunnel_to(sshd.host(), use_epoll=use_epoll) as tunnel:
            port = await listen(tunnel, side, echo.port)
            with connect(port) as connection:
                back = in_thread(receive, connection)
                sent = await in_thread(stream.send, connection)
                connection.shutdown(socket.SHUT_WR)
                assert await back == Received(stream.size, sent, "fin")


async def test_links_beside_each_other_carry_their_own_bytes(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    streams = [Stream(48 * MIB, seed=n) for n in range(2)]
    other = OpenSSHServer(tmp_path / "other", config=["Ciphers aes256-ctr", "RekeyLimit 4M"])
    other.start()
    try:
        with EchoService() as echo:
            async with AsyncExitStack() as stack:
                connections = []
                reactor = None
                for server in (sshd, other):
                    tunnel = await stack.enter_async_context(
                        tunnel_to(server.host(), reactor=reactor)
                    )
                    reactor = tunnel.reactor
                    port = await tunnel.local(echo.port)
                    connections.append(stack.enter_context(connect(port)))
                back = [in_thread(receive, connection) for connection in connections]
                pairs = zip(streams, connections, strict=True)
                sent = await asyncio.gather(*(in_thread(s.send, c) for s, c in pairs))
                for connection in connections:
                    connection.shutdown(socket.SHUT_WR)
                received = await asyncio.gather(*back)
                assert received == [Received(48 * MIB, digest, "fin") for digest in sent]
    finally:
        other.stop()


@BOTH_SIDES
@pytest.mark.parametrize("size", [0, 1, 32_767, 32_768, 32_769, 2 * MIB, 2 * MIB + 1])
async def test_every_size_at_an_edge(sshd: OpenSSHServer, side: Side, size: int) -> None:
    question = b"".join(Stream(size, seed=size).chunks())
    with ReplyAfterEndService(lambda asked: asked) as service:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await listen(tunnel, side, service.port)
            assert await in_thread(ask, port, question) == question


@BOTH_SIDES
async def test_one_byte_writes_keep_their_order(sshd: OpenSSHServer, side: Side) -> None:
    message = bytes(range(256)) * 4
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await listen(tunnel, side, echo.port)

            with connect(port) as connection:
                back = in_thread(receive_exactly, connection, len(message))
                for value in message:
                    await in_thread(connection.sendall, bytes([value]))
                assert await back == message


@BOTH_SIDES
async def test_the_client_may_end_first_and_still_gets_its_reply(
    sshd: OpenSSHServer, side: Side
) -> None:
    with ReplyAfterEndService(lambda asked: b"got " + asked) as service:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await listen(tunnel, side, service.port)
            # The second one's FIN is there before the far side is open.
            assert await in_thread(ask, port, b"question") == b"got question"
            assert await in_thread(ask, port, b"") == b"got "


@BOTH_SIDES
async def test_the_target_may_end_first_and_still_gets_the_rest(
    sshd: OpenSSHServer, side: Side
) -> None:
    stream = Stream(5 * MIB, seed=11)
    with SpeakFirstService(b"hello") as service:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await listen(tunnel, side, service.port)

            def after_the_end() -> str:
                with connect(port) as connection:
                    assert b"".join(iter(lambda: connection.recv(99), b"")) == b"hello"
                    sent = stream.send(connection)
                    connection.shutdown(socket.SHUT_WR)
                    return sent

            sent = await in_thread(after_the_end)
            assert await in_thread(service.received) == Received(stream.size, sent, "fin")


async def test_several_remote_forwards_on_one_link_reach_their_own_targets(
    sshd: OpenSSHServer,
) -> None:
    names = [b"one", b"two", b"three", b"four"]
    services = [ReplyAfterEndService(partial(lambda name, asked: name, name)) for name in names]
    try:
        async with tunnel_to(sshd.host()) as tunnel:
            ports = [await tunnel.remote(service.port) for service in services]
            assert len(set(ports)) == len(ports)
            answers = await asyncio.gather(*(in_thread(ask, port, b"") for port in ports * 3))
            assert answers == names * 3
            # Taking one away leaves the others alone.
            await tunnel.forward(1).close(0)
            await in_thread(eventually, partial(is_refused, ports[1]), "the server lets go")
            assert await in_thread(ask, ports[2], b"") == b"three"
    finally:
        for service in services:
            service.close()


def is_refused(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        connect(port).close()
    except ConnectionError as error:
        return isinstance(error, ConnectionRefusedError)
    return False


async def test_hundreds_of_connections_at_once_each_get_their_own_bytes(
    sshd: OpenSSHServer,
) -> None:
    def talk(port: int, number: int) -> None:
        with connect(port) as connection:
            for turn in range(5):
                message = f"{number}/{turn} ".encode() * 700
                assert exchange(connection, message) == message

    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            local = await tunnel.local(echo.port, max_connections=1000)
            remote = await tunnel.remote(echo.port, max_connections=1000)
            await asyncio.gather(*(in_thread(talk, (local, remote)[n % 2], n) for n in range(300)))
            assert tunnel.failures == []
            assert tunnel.forward(0).counters.total == 150
            assert tunnel.forward(1).counters.total == 150


async def test_a_client_that_does_not_read_holds_up_nobody_else(sshd: OpenSSHServer) -> None:
    stream = Stream(64 * MIB)
    with SourceService(stream) as source, EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            blocked = await tunnel.local(source.port)
            lively = await tunnel.local(echo.port)
            with connect(blocked) as patient:
                await in_thread(patient.recv, 1)
                with connect(lively) as other:
                    for _ in range(20):
                        message = bytes(MIB)
                        back = in_thread(receive_exactly, other, MIB)
                        await in_thread(other.sendall, message)
                        assert await back == message
                counters = tunnel.forward(0).counters
                # No more than the window and what the sockets hold was taken for it.
                assert max(counters.bytes_in, counters.bytes_out) < 32 * MIB
                rest = await in_thread(receive, patient)
                assert (rest.size, rest.end) == (stream.size - 1, "fin")
