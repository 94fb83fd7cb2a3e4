"""A server that ends a channel with CLOSE alone (RFC 4254 section 5.3): all that came is delivered,
and then FIN. What is cut on our own way stays a reset."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path

import pytest

from tests.support.clients import download, exchange, receive_exactly
from tests.support.hostile import Peer, ScriptedServer
from tests.support.ports import free_port
from tests.support.programs import require
from tests.support.servers import running
from tests.support.servers.asyncssh import AsyncsshServer
from tests.support.servers.base import Server
from tests.support.servers.conch import ConchServer
from tests.support.servers.go import GoServer
from tests.support.services import (
    CHUNK,
    DEADLINE,
    EchoService,
    Received,
    Service,
    SinkService,
    SourceService,
    Stream,
    connect,
    receive,
)
from tests.support.socks import ask5
from tests.support.threads import in_thread
from tests.support.tunnel import rule, tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Side
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message
from tunnelctl.wire.window import PACKET_MAX, WINDOW

MIB = 1024 * 1024
ANSWER = Stream(8 * MIB, seed=12)
WHOLE = Received(ANSWER.size, ANSWER.sha256, "fin")
SERVERS = pytest.mark.parametrize("kind", [GoServer, ConchServer, AsyncsshServer])
TURNS = 12


def http_service() -> Service:
    """Answers each request with ANSWER and then closes, as HTTP/1.0 does."""

    def answer(connection: socket.socket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += connection.recv(CHUNK)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        ANSWER.send(connection)

    return Service(answer)


def curl(port: int) -> tuple[int, str]:
    """What curl ends with, and the sha256 of what it got."""
    command = ["curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{port}/"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return done.returncode, hashlib.sha256(done.stdout).hexdigest()


def netcat(port: int) -> str:
    """The sha256 of what `nc` prints, which ends when the other side does."""
    command = ["nc", "-d", "127.0.0.1", str(port)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return hashlib.sha256(done.stdout).hexdigest()


@SERVERS
async def test_a_whole_answer_looks_whole(kind: type[Server], tmp_path: Path) -> None:
    with running(kind, tmp_path) as server, SourceService(ANSWER) as source:
        with server.forwarded_by_openssh(source.port) as port:
            assert await in_thread(download, port) == WHOLE
        async with tunnel_to(server.host()) as tunnel:
            port = await tunnel.local(source.port)
            for _ in range(TURNS):
                assert await in_thread(download, port) == WHOLE
            assert tunnel.failures == []
            assert tunnel.forward().counters.failed == 0


@SERVERS
async def test_the_programs_of_users_take_it_as_whole(kind: type[Server], tmp_path: Path) -> None:
    require("curl")
    require("nc")
    with running(kind, tmp_path) as server, http_service() as http, SourceService(ANSWER) as source:
        with server.forwarded_by_openssh(http.port) as port:
            assert await in_thread(curl, port) == (0, ANSWER.sha256)
        async with tunnel_to(server.host()) as tunnel:
            port = await tunnel.local(http.port)
            assert await in_thread(curl, port) == (0, ANSWER.sha256)
            port = await tunnel.local(source.port)
            for _ in range(TURNS):
                assert await in_thread(netcat, port) == ANSWER.sha256


@SERVERS
async def test_an_upload_from_beyond_the_server_arrives_whole(
    kind: type[Server], tmp_path: Path
) -> None:
    with running(kind, tmp_path) as server, SinkService() as sink:
        async with tunnel_to(server.host()) as tunnel:
            port = await tunnel.remote(sink.port, port=free_port())
            with connect(port) as client:
                assert await in_thread(ANSWER.send, client) == ANSWER.sha256
            assert await in_thread(sink.received) == WHOLE


# Whatever comes together, by a script. An answer fits the first window, so that the server says all
# of it whether or not anybody reads.

SHORT = Stream(WINDOW - 1000, seed=4)
ALL_OF_IT = Received(SHORT.size, SHORT.sha256, "fin")


class Ending(Enum):
    """What the server says after the answer."""

    CLOSE = auto()
    EOF_AND_CLOSE = auto()
    CLOSE_AND_LEAVE = auto()  # with DISCONNECT and the end of its connection right behind
    LEAVE = auto()
    VANISH = auto()


class Client(Enum):
    """What the client does before it reads."""

    WAITS = auto()
    SAID_ALL = auto()  # its own FIN went before
    SENDS_ON = auto()  # more than the server ever takes


ENDINGS = pytest.mark.parametrize(
    "ending", [Ending.CLOSE, Ending.EOF_AND_CLOSE, Ending.CLOSE_AND_LEAVE]
)
CLIENTS = pytest.mark.parametrize("client", list(Client))


def answer(peer: Peer, number: int, ending: Ending) -> None:
    """Say SHORT over the client's channel, and end it."""
    for chunk in SHORT.chunks():
        for start in range(0, len(chunk), PACKET_MAX):
            peer.send(messages.channel_data(number, bytes(chunk[start : start + PACKET_MAX])))
    last = {
        Ending.CLOSE: [messages.channel_close(number)],
        Ending.EOF_AND_CLOSE: [messages.channel_eof(number), messages.channel_close(number)],
        Ending.CLOSE_AND_LEAVE: [messages.channel_close(number), messages.disconnect(11, "bye")],
        Ending.LEAVE: [messages.disconnect(11, "bye")],
        Ending.VANISH: [],
    }[ending]
    peer.sock.sendall(b"".join(map(peer.seal, last)))
    if ending in (Ending.CLOSE, Ending.EOF_AND_CLOSE):
        peer.expect(Message.CHANNEL_CLOSE)


def come(connection: socket.socket, client: Client) -> None:
    """Be that client, up to where it reads."""
    if client is Client.SAID_ALL:
        connection.sendall(b"a question")
        connection.shutdown(socket.SHUT_WR)
    elif client is Client.SENDS_ON:
        # Not more than the kernel and the window hold, so that none of it waits to be sent.
        connection.sendall(bytes(MIB))


@contextmanager
def slow(port: int) -> Iterator[socket.socket]:
    """A client whose kernel takes little of what it does not read."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(DEADLINE)
        connection.connect(("127.0.0.1", port))
        yield connection


@ENDINGS
@CLIENTS
@pytest.mark.parametrize("is_late", [False, True])
async def test_a_client_gets_all_that_came_and_fin(
    ending: Ending, client: Client, is_late: bool
) -> None:
    said = threading.Event()

    def script(peer: Peer) -> None:
        answer(peer, peer.opened(window=10_000), ending)
        said.set()

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            with slow(await tunnel.local(9)) as connection:
                come(connection, client)
                if is_late:
                    # All is said and the link is gone, before anybody reads.
                    assert await in_thread(said.wait, 20)
                    await asyncio.wait_for(asyncio.shield(tunnel.link.closed), 20)
                assert await in_thread(receive, connection) == ALL_OF_IT
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "it has ended")
            assert tunnel.forward().counters.bytes_in == SHORT.size


@pytest.mark.parametrize("ending", [Ending.LEAVE, Ending.VANISH])
@CLIENTS
async def test_a_link_that_ends_before_the_channel_does_is_a_reset(
    ending: Ending, client: Client
) -> None:
    with ScriptedServer(lambda peer: answer(peer, peer.opened(window=10_000), ending)) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            with connect(await tunnel.local(9)) as connection:
                come(connection, client)
                assert (await in_thread(receive, connection)).end == "reset"


@ENDINGS
async def test_a_service_on_this_side_gets_all_that_came_and_fin(ending: Ending) -> None:
    def script(peer: Peer) -> None:
        peer.expect(Message.GLOBAL_REQUEST)
        peer.send(bytes((Message.REQUEST_SUCCESS,)))
        where = messages.tcpip_open("127.0.0.1", 7777, "127.0.0.1", 1)
        peer.send(messages.channel_open("forwarded-tcpip", 7, 10_000, PACKET_MAX, where))
        reader = peer.expect(Message.CHANNEL_OPEN_CONFIRMATION)
        reader.u32()
        answer(peer, reader.u32(), ending)

    with ScriptedServer(script) as server, SinkService() as sink:
        async with tunnel_to(server.host_with()) as tunnel:
            await tunnel.remote(sink.port, port=7777)
            assert await in_thread(sink.received) == ALL_OF_IT


@ENDINGS
@CLIENTS
async def test_a_client_of_a_unix_socket_gets_all_that_came_and_the_end(
    ending: Ending, client: Client, tmp_path: Path
) -> None:
    where = Endpoint(path=str(tmp_path / "client.sock"))
    with ScriptedServer(lambda peer: answer(peer, peer.opened(), ending)) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            await tunnel.add(dataclasses.replace(rule(Side.HERE, 0, 9), listen=where))
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(DEADLINE)
                connection.connect(where.path)
                if client is not Client.SENDS_ON:
                    come(connection, client)
                else:
                    connection.sendall(bytes(100_000))
                assert await in_thread(receive, connection) == ALL_OF_IT


async def test_a_socks_client_gets_all_that_came_and_fin() -> None:
    with ScriptedServer(lambda peer: answer(peer, peer.opened(), Ending.CLOSE)) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            asked = await in_thread(ask5, await tunnel.local(None), "db.internal", 5432)
            assert asked.code == 0
            with asked.connection:
                assert await in_thread(receive, asked.connection) == ALL_OF_IT


async def test_a_reader_that_waits_for_the_rest_is_cut_when_we_end() -> None:
    said = threading.Event()

    def script(peer: Peer) -> None:
        answer(peer, peer.opened(), Ending.CLOSE)
        said.set()

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            with slow(await tunnel.local(9)) as connection:
                assert await in_thread(said.wait, 20)
                assert tunnel.forward().counters.open == 1
                await tunnel.forward().close(0)
                assert (await in_thread(receive, connection)).end == "reset"


async def test_a_reader_that_leaves_while_the_rest_waits_for_it_is_forgotten() -> None:
    said = threading.Event()

    def script(peer: Peer) -> None:
        answer(peer, peer.opened(), Ending.CLOSE)
        said.set()

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            with slow(await tunnel.local(9)) as connection:
                assert await in_thread(said.wait, 20)
                receive_exactly(connection, 1000)
                assert tunnel.forward().counters.open == 1
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "it is forgotten")


async def test_tunnelctl_on_the_other_side_says_when_its_socket_broke() -> None:
    script = ScriptedServer(
        lambda peer: answer(peer, peer.opened(), Ending.CLOSE), version="tunnelctl_1"
    )
    with script as server:
        async with tunnel_to(server.host_with()) as tunnel:
            port = await tunnel.local(9)
            assert await in_thread(download, port) == dataclasses.replace(ALL_OF_IT, end="reset")


@SERVERS
async def test_a_chain_of_hops_is_no_matter(kind: type[Server], tmp_path: Path) -> None:
    with (
        running(kind, tmp_path / "hop") as hop,
        running(kind, tmp_path / "server") as server,
        SourceService(ANSWER) as source,
    ):
        host = server.host(proxy_jump=(hop.host(name="hop"),))
        async with tunnel_to(host) as tunnel:
            assert await in_thread(download, await tunnel.local(source.port)) == WHOLE
            # The channel of the hop ends: what leads through it is lost, not complete.
            with EchoService() as echo, connect(await tunnel.local(echo.port)) as connection:
                assert await in_thread(exchange, connection, b"hello") == b"hello"
                server.stop()
                assert (await in_thread(receive, connection)).end == "reset"
