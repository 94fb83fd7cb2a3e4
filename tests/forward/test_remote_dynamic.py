"""`remote_dynamic`: clients beyond the server reach what `permit` allows of our network."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

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
    request5,
)
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, rule, tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code
from tunnelctl.forward import socks
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Side
from tunnelctl.spec.permit import Permit, parse_permit

NO_SUCH_NAME = "no-such-host.invalid"


def permit(*lines: str) -> tuple[Permit, ...]:
    return tuple(map(parse_permit, lines))


async def proxy_with(tunnel: Tunnel, *lines: str) -> int:
    """A reverse SOCKS proxy on the server; its port."""
    return await tunnel.remote(None, permit=permit(*lines))


def own_address() -> str:
    """An address of this machine that others can reach it by; skips the test without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no network")
        return str(probe.getsockname()[0])


# Who is served


@pytest.mark.parametrize("option", ["--socks4", "--socks4a", "--socks5", "--socks5-hostname"])
async def test_curl_gets_its_page(sshd: OpenSSHServer, option: str) -> None:
    with PageService("Hello!") as page:
        async with tunnel_to(sshd.host()) as tunnel:
            # By the address, and by the name that the client leaves to us.
            proxy = await proxy_with(tunnel, f"127.0.0.1:{page.port}", f"localhost:{page.port}")
            for host in ("127.0.0.1", "localhost"):
                url = f"http://{host}:{page.port}/"
                assert await in_thread(curl, option, proxy, url) == "Hello!"
            counters = tunnel.forward().counters
            await eventually_async(lambda: counters.open == 0, "it is given back")
            assert (counters.total, counters.failed, tunnel.failures) == (2, 0, [])


async def test_curl_gets_a_page_by_an_ipv6_address(sshd: OpenSSHServer) -> None:
    with PageService("Hello, six!", host="::1") as page:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await proxy_with(tunnel, f"[::1]:{page.port}")
            url = f"http://[::1]:{page.port}/"
            assert await in_thread(curl, "--socks5", proxy, url) == "Hello, six!"


@pytest.mark.parametrize("version", [4, 5])
async def test_bytes_before_and_after_the_answer_arrive_in_order(
    sshd: OpenSSHServer, version: int
) -> None:
    early = b"".join(Stream(100_000, seed=3).chunks())
    ask, granted = (ask5, 0) if version == 5 else (ask4, 90)
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await proxy_with(tunnel, f"localhost:{echo.port}")
            asked = await in_thread(ask, proxy, "localhost", echo.port, early=early)
            with asked.connection as connection:
                assert asked.code == granted
                assert await in_thread(receive_exactly, connection, len(early)) == early
                assert await in_thread(exchange, connection, b"later") == b"later"
                connection.shutdown(socket.SHUT_WR)
                assert (await in_thread(receive, connection)).end == "fin"


async def test_a_client_that_ends_with_its_request_gets_its_answer(sshd: OpenSSHServer) -> None:
    def at_once(proxy: int, port: int) -> bytes:
        with connect(proxy) as connection:
            connection.sendall(GREETING + request5("127.0.0.1", port) + b"question")
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(100), b""))

    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await proxy_with(tunnel, f"127.0.0.1:{echo.port}")
            answer = await in_thread(at_once, proxy, echo.port)
            assert answer == b"\5\0" + b"\5\0\0\1" + bytes(6) + b"question"


# What may be reached


async def refuses(tunnel: Tunnel, proxy: int, host: str, port: int, code: int = 2) -> None:
    """The client hears `code` and then the end, and we hear why."""
    asked = await in_thread(ask5, proxy, host, port)
    assert (asked.code, await in_thread(asked.ends)) == (code, True), host
    if code == 2:
        failure = tunnel.failures[-1]
        assert failure.code is Code.FORWARD_DENIED
        assert f":{port} is not permitted" in failure.message
        assert "permit" in failure.hint


async def grants(proxy: int, host: str, port: int) -> None:
    """The client is connected."""
    asked = await in_thread(ask5, proxy, host, port)
    with asked.connection as connection:
        assert asked.code == 0, host
        assert await in_thread(exchange, connection, b"hello") == b"hello"


async def test_what_is_not_permitted_is_refused(sshd: OpenSSHServer) -> None:
    with EchoService() as echo, EchoService() as other:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await proxy_with(tunnel, f"127.0.0.1:{echo.port}", "10.0.0.0/8:443")
            await refuses(tunnel, proxy, "127.0.0.1", other.port)
            await refuses(tunnel, proxy, "10.1.2.3", 80)
            # A rule for an address is none for a name, whatever that means.
            await grants(proxy, "127.0.0.1", echo.port)
            asked = await in_thread(ask4, proxy, "127.0.0.1", other.port)
            assert (asked.code, await in_thread(asked.ends)) == (91, True)
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "all are gone")
            assert tunnel.forward().counters.failed == 3
            assert other.accepted == 0


async def test_this_machine_is_out_of_reach_unless_it_is_named(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        port = echo.port
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await proxy_with(tunnel, "0.0.0.0/0:*", "[::/0]:*", "*.localhost:*")
            same = ("127.0.0.1", "127.9.9.9", "localhost", "0.0.0.0", "::1", "::", "127.1", "0")
            for host in (*same, "::ffff:127.0.0.1", "::ffff:0.0.0.0", "2130706433"):
                await refuses(tunnel, proxy, host, port)
            # Its neighbours on the link, where clouds keep their secrets, neither.
            for host in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1"):
                await refuses(tunnel, proxy, host, 80)
            assert echo.accepted == 0
            named = await proxy_with(tunnel, f"localhost:{port}", f"127.0.0.0/8:{port}")
            for host in ("localhost", "127.0.0.1", "::ffff:127.0.0.1"):
                await grants(named, host, port)


async def test_our_own_listeners_are_out_of_reach_unless_they_are_named(
    sshd: OpenSSHServer,
) -> None:
    ours = own_address()
    with EchoService() as echo, EchoService(host=ours) as service:
        async with tunnel_to(sshd.host()) as tunnel:
            wide = Endpoint("0.0.0.0", 0)
            port = await tunnel.local(echo.port, listen=wide, expose=True)
            proxy = await proxy_with(tunnel, "0.0.0.0/0:*")
            await refuses(tunnel, proxy, ours, port)
            await refuses(tunnel, proxy, f"::ffff:{ours}", port)
            # A service of this machine is no listener of ours.
            await grants(proxy, ours, service.port)
            named = await proxy_with(tunnel, f"{ours}/32:{port}")
            await grants(named, ours, port)
            # Nor does a rule for this machine mean a listener of ours.
            here = await tunnel.local(echo.port)
            await refuses(tunnel, await proxy_with(tunnel, "127.0.0.0/8:*"), "127.0.0.1", here)
            await grants(await proxy_with(tunnel, f"127.0.0.1:{here}"), "127.0.0.1", here)


async def test_our_wildcard_does_not_hide_others_with_the_same_port(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        port = await tunnel.local(9, listen=Endpoint("0.0.0.0", 0), expose=True)
        proxy = await proxy_with(tunnel, "198.51.100.0/24:*")
        dialled: list[Any] = []

        async def unreachable(sock: socket.socket, address: Any) -> None:
            dialled.append(address)
            raise OSError(101, "whatever asyncio says")

        # No machine of a test has that neighbour (RFC 5737).
        monkeypatch.setattr(tunnel.reactor.loop, "sock_connect", unreachable)
        asked = await in_thread(ask5, proxy, "198.51.100.77", port)
        assert (asked.code, await in_thread(asked.ends)) == (3, True)
        assert dialled == [("198.51.100.77", port)]


async def test_a_name_is_resolved_once_and_that_address_is_dialled(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means another address the second time cannot slip by the check."""
    async with tunnel_to(sshd.host()) as tunnel:
        with EchoService(host="127.0.0.2") as good, EchoService(good.port) as bad:
            resolve = socket.getaddrinfo
            answers = iter(["127.0.0.2", "127.0.0.1", "127.0.0.1"])

            def rebinding(host: str, port: int, *kind: int, **hints: Any) -> Any:
                if host != "rebinding.example":
                    return resolve(host, port, *kind, **hints)
                return resolve(next(answers), port, **hints)

            monkeypatch.setattr(socket, "getaddrinfo", rebinding)
            proxy = await proxy_with(tunnel, f"127.0.0.2/32:{good.port}")
            await grants(proxy, "rebinding.example", good.port)
            assert (good.accepted, bad.accepted) == (1, 0)
            await refuses(tunnel, proxy, "rebinding.example", good.port)
            assert (good.accepted, bad.accepted) == (1, 0)


async def test_a_target_that_fails_is_told_by_its_code(sshd: OpenSSHServer) -> None:
    closed = free_port()
    async with tunnel_to(sshd.host()) as tunnel:
        proxy = await proxy_with(tunnel, f"127.0.0.1:{closed}", f"{NO_SUCH_NAME}:80")
        await refuses(tunnel, proxy, "127.0.0.1", closed, code=5)
        await refuses(tunnel, proxy, NO_SUCH_NAME, 80, code=4)
        for name in ("a" * 255, "a." * 127 + "a", "a..b"):
            await refuses(tunnel, proxy, name, 80, code=4)
        codes = [failure.code for failure in tunnel.failures]
        assert codes == [Code.TARGET_REFUSED] + [Code.TARGET_UNREACHABLE] * 4
        assert f"127.0.0.1:{closed}" in tunnel.failures[0].message
        counters = tunnel.forward().counters
        assert (counters.open, counters.failed) == (0, 5)


async def test_only_connect_is_offered(sshd: OpenSSHServer) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        proxy = await proxy_with(tunnel, "127.0.0.1:80")
        for command in (BIND, UDP_ASSOCIATE):
            asked = await in_thread(ask5, proxy, "127.0.0.1", 80, command)
            assert (asked.code, await in_thread(asked.ends)) == (7, True)
        asked = await in_thread(ask4, proxy, "127.0.0.1", 80, BIND)
        assert (asked.code, await in_thread(asked.ends)) == (91, True)


# Who is no client


async def test_garbage_is_answered_by_an_end(sshd: OpenSSHServer) -> None:
    def said_to(proxy: int, words: bytes) -> tuple[int, str]:
        with connect(proxy) as connection:
            connection.sendall(words)
            received = receive(connection)
            return received.size, received.end

    async with tunnel_to(sshd.host()) as tunnel:
        proxy = await proxy_with(tunnel, "127.0.0.1:80")
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\0", b"\x16\x03\x01\2\0"):
            assert await in_thread(said_to, proxy, words) == (0, "fin")
        # sshd may still have some of it to read when it hears the end, and then resets.
        assert (await in_thread(said_to, proxy, b"x" * 100_000))[0] == 0
        await eventually_async(lambda: tunnel.forward().counters.open == 0, "all are gone")
        assert tunnel.forward().counters.failed == 5
        assert not tunnel.link.closed.done()


async def test_a_handshake_has_its_time_and_no_more(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socks, "HANDSHAKE_SECONDS", 1.0)

    def silent(proxy: int, said: bytes) -> str:
        with connect(proxy) as connection:
            connection.sendall(said)
            return receive(connection).end

    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await proxy_with(tunnel, f"127.0.0.1:{echo.port}")
            patient = await in_thread(ask5, proxy, "127.0.0.1", echo.port)
            # Each returns when the server has ended its connection.
            await asyncio.gather(
                *(in_thread(silent, proxy, said) for said in (b"", GREETING, b"\4\1\0"))
            )
            with patient.connection as connection:
                assert await in_thread(exchange, connection, b"hello") == b"hello"
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "all are gone")


async def test_the_end_of_the_forward_ends_handshakes_and_dialling(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            await tunnel.add(rule(Side.THERE, 0, None, permit=permit("127.0.0.1:*")))
            listening = tunnel.forward().listening
            assert listening is not None
            with connect(listening.port) as waiting:
                waiting.sendall(GREETING)
                assert await in_thread(receive_exactly, waiting, 2) == b"\5\0"
                busy = await in_thread(ask5, listening.port, "127.0.0.1", echo.port)
                with busy.connection as connection:
                    await tunnel.forward().close(0)
                    for cut in (waiting, connection):
                        assert (await in_thread(receive, cut)).end in ("reset", "fin")
            counters = tunnel.forward().counters
            assert (counters.open, counters.total) == (0, 2)
            await eventually_async(lambda: echo.open == 0, "the target is let go")
            assert not tunnel.link.closed.done()
