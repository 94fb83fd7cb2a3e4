"""`dynamic`: real clients and raw ones, what they are answered, and who is not served at all."""

from __future__ import annotations

import asyncio
import random
import socket
import threading

import pytest

from tests.support.clients import exchange, receive_exactly
from tests.support.ports import free_port
from tests.support.services import EchoService, Stream, connect, receive
from tests.support.socks import (
    BIND,
    GREETING,
    UDP_ASSOCIATE,
    PageService,
    ask4,
    ask5,
    curl,
    request4,
    request5,
)
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import tunnel_to
from tests.support.waiting import eventually, eventually_async
from tunnelctl.errors import Code
from tunnelctl.forward import socks

NO_SUCH_NAME = "no-such-host.invalid"


# Who is served


@pytest.mark.parametrize("option", ["--socks4", "--socks4a", "--socks5", "--socks5-hostname"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_curl_gets_its_page(sshd: OpenSSHServer, option: str, host: str) -> None:
    sshd.reconfigure("LogLevel DEBUG1")
    with PageService("Hello!") as page:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await tunnel.local(None)
            url = f"http://{host}:{page.port}/"
            assert await in_thread(curl, option, proxy, url) == "Hello!"
            counters = tunnel.forward().counters
            await eventually_async(lambda: counters.open == 0, "it is given back")
            assert (counters.total, counters.failed, tunnel.failures) == (1, 0, [])
    # Where curl leaves the name to the proxy, the server resolves it, not we.
    named = host if option in ("--socks4a", "--socks5-hostname") else "127.0.0.1"
    await in_thread(eventually, lambda: f"target {named} port {page.port}" in sshd.log, "the log")


@pytest.mark.parametrize("option", ["--socks5", "--socks5-hostname"])
async def test_curl_gets_a_page_by_an_ipv6_address(sshd: OpenSSHServer, option: str) -> None:
    with PageService("Hello, six!", host="::1") as page:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await tunnel.local(None)
            url = f"http://[::1]:{page.port}/"
            assert await in_thread(curl, option, proxy, url) == "Hello, six!"


@pytest.mark.parametrize("version", [4, 5])
async def test_what_is_sent_behind_the_request_arrives_first(
    sshd: OpenSSHServer, version: int
) -> None:
    early = b"".join(Stream(4000, seed=2).chunks())
    ask, granted = (ask5, 0) if version == 5 else (ask4, 90)
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await tunnel.local(None)
            asked = await in_thread(ask, proxy, "localhost", echo.port, early=early)
            with asked.connection as connection:
                assert asked.code == granted
                assert await in_thread(receive_exactly, connection, len(early)) == early
                assert await in_thread(exchange, connection, b"later") == b"later"
                connection.shutdown(socket.SHUT_WR)
                assert (await in_thread(receive, connection)).end == "fin"
            assert tunnel.forward().counters.bytes_out == len(early) + len(b"later")


async def test_a_client_that_comes_before_the_link_is_served_by_it(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(None) as tunnel:
            proxy = await tunnel.local(None)
            asking = in_thread(ask5, proxy, "127.0.0.1", echo.port)
            await eventually_async(lambda: tunnel.forward().counters.open == 1, "it waits")
            tunnel.local_forward().attach(await tunnel.connect(sshd.host()))
            asked = await asking
            with asked.connection as connection:
                assert asked.code == 0
                assert await in_thread(exchange, connection, b"hello") == b"hello"


# Who is refused, and in which words


async def test_a_refusal_has_its_code_and_then_fin(sshd: OpenSSHServer) -> None:
    closed = free_port()
    async with tunnel_to(sshd.host()) as tunnel:
        proxy = await tunnel.local(None)
        for host, code in (("127.0.0.1", 5), ("localhost", 5), (NO_SUCH_NAME, 4)):
            asked = await in_thread(ask5, proxy, host, closed)
            assert (asked.code, await in_thread(asked.ends)) == (code, True), host
            asked = await in_thread(ask4, proxy, host, closed)
            assert (asked.code, await in_thread(asked.ends)) == (91, True), host
        codes = [failure.code for failure in tunnel.failures]
        assert codes == [Code.TARGET_REFUSED] * 4 + [Code.TARGET_UNREACHABLE] * 2
        assert f"127.0.0.1:{closed}" in tunnel.failures[0].message
        assert NO_SUCH_NAME in tunnel.failures[-1].message
        counters = tunnel.forward().counters
        assert (counters.open, counters.total, counters.failed) == (0, 6, 6)


@pytest.mark.parametrize("line", ["AllowTcpForwarding no", "PermitOpen 127.0.0.1:1"])
async def test_what_the_server_forbids_is_said_to_be_forbidden(
    sshd: OpenSSHServer, line: str
) -> None:
    sshd.reconfigure(line)
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await tunnel.local(None)
            for ask, code in ((ask5, 2), (ask4, 91)):
                asked = await in_thread(ask, proxy, "127.0.0.1", echo.port)
                assert (asked.code, await in_thread(asked.ends)) == (code, True)
            assert [failure.code for failure in tunnel.failures] == [Code.FORWARD_DENIED] * 2
            assert "open failed" in tunnel.failures[0].message  # sshd's own words
            assert "PermitOpen" in tunnel.failures[0].hint


async def test_only_connect_is_offered(sshd: OpenSSHServer) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        proxy = await tunnel.local(None)
        for command in (BIND, UDP_ASSOCIATE):
            asked = await in_thread(ask5, proxy, "127.0.0.1", 80, command)
            assert (asked.code, await in_thread(asked.ends)) == (7, True)
        asked = await in_thread(ask4, proxy, "127.0.0.1", 80, BIND)
        assert (asked.code, await in_thread(asked.ends)) == (91, True)
        assert tunnel.forward().counters.open == 0


async def test_a_refusal_reaches_a_client_that_talks_on(sshd: OpenSSHServer) -> None:
    """Bytes that nobody reads would make the kernel cut the reply off."""
    early = b"x" * 20_000

    def talk_on(proxy: int, request: bytes) -> bytes:
        with connect(proxy) as connection:
            connection.sendall(request + early)
            return b"".join(iter(lambda: connection.recv(100), b""))

    async with tunnel_to(sshd.host()) as tunnel:
        proxy = await tunnel.local(None)
        refused = GREETING + request5("127.0.0.1", free_port())
        assert await in_thread(talk_on, proxy, refused) == b"\5\0\5\5\0\1" + bytes(6)
        wrong = GREETING + request5("127.0.0.1", 80, BIND)
        assert await in_thread(talk_on, proxy, wrong) == b"\5\0\5\7\0\1" + bytes(6)
        password = b"\5\1\2"
        assert await in_thread(talk_on, proxy, password) == b"\5\xff"


async def test_names_as_long_as_can_be_asked_for(sshd: OpenSSHServer) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        proxy = await tunnel.local(None)
        for name in ("a" * 255, "a." * 127 + "a", ".", "a..b"):
            asked = await in_thread(ask5, proxy, name, 80)
            assert (asked.code, await in_thread(asked.ends)) == (4, True)
        assert not tunnel.link.closed.done()


# Who is no client


def said_to(proxy: int, *pieces: bytes) -> str:
    """Say these; how it ends, without a byte having come."""
    with connect(proxy) as connection:
        for piece in pieces:
            connection.sendall(piece)
        received = receive(connection)
        assert received.size == 0
        return received.end


GARBAGE = {
    "a page": b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a page with much to say": b"GET / HTTP/1.1\r\n" + b"X-Header: value\r\n" * 2000 + b"\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.Random(1).randbytes(500),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a byte": b"\0",
    "bytes": random.Random(2).randbytes(30_000),
}


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_is_answered_by_a_clean_end(sshd: OpenSSHServer, garbage: str) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        proxy = await tunnel.local(None)
        assert await in_thread(said_to, proxy, GARBAGE[garbage]) == "fin"
        counters = tunnel.forward().counters
        assert (counters.open, counters.failed) == (0, 1)


async def test_a_client_that_leaves_in_its_handshake_harms_nobody(sshd: OpenSSHServer) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        proxy = await tunnel.local(None)
        whole = GREETING + request5("127.0.0.1", 80)

        def leave(after: int) -> None:
            with connect(proxy) as connection:
                connection.sendall(whole[:after])

        for after in range(len(whole)):
            await in_thread(leave, after)
        await eventually_async(lambda: tunnel.forward().counters.open == 0, "all are gone")
        assert tunnel.forward().counters.failed == len(whole)


async def test_a_handshake_has_its_time_and_no_more(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert socks.HANDSHAKE_SECONDS == 10
    monkeypatch.setattr(socks, "HANDSHAKE_SECONDS", 1.0)

    def silent(proxy: int, said: bytes) -> str:
        with connect(proxy) as connection:
            connection.sendall(said)
            return receive(connection).end

    def slow(proxy: int) -> str:
        pause = threading.Event()
        with connect(proxy) as connection:
            for byte in request4("127.0.0.1", 80).replace(b"me\0", b"m" * 250):
                try:
                    connection.sendall(bytes((byte,)))
                except ConnectionError:
                    return "reset"
                pause.wait(0.05)
        return "still there"

    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await tunnel.local(None)
            # One whose handshake is done has all the time in the world.
            patient = await in_thread(ask5, proxy, "127.0.0.1", echo.port)
            ends = await asyncio.gather(
                in_thread(silent, proxy, b""),
                in_thread(silent, proxy, GREETING),
                in_thread(silent, proxy, GREETING + request5("127.0.0.1", 80)[:-1]),
                in_thread(slow, proxy),
            )
            assert set(ends) == {"reset"}
            with patient.connection as connection:
                assert await in_thread(exchange, connection, b"hello") == b"hello"
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "all are gone")


async def test_the_end_of_the_forward_ends_handshakes(sshd: OpenSSHServer) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        proxy = await tunnel.local(None)
        with connect(proxy) as connection:
            connection.sendall(GREETING)
            assert await in_thread(receive_exactly, connection, 2) == b"\5\0"
            await tunnel.forward().close(0)
            assert (await in_thread(receive, connection)).end == "reset"
        assert tunnel.forward().counters.open == 0
