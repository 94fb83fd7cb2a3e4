"""What a forward listens on, who may come, how many; and why an open failed, on either side."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_network

import pytest

from tests.support.clients import exchange
from tests.support.ports import free_port
from tests.support.services import EchoService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, rule, tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Side

BOTH_SIDES = pytest.mark.parametrize("side", list(Side))


def say_hello(host: str, port: int) -> bytes:
    """What an echo behind `host`:`port` makes of a word; nothing when it is ended before."""
    try:
        with socket.create_connection((host, port), timeout=30) as connection:
            return exchange(connection, b"hello")
    except (ConnectionResetError, EOFError):
        return b""


# What it listens on


@BOTH_SIDES
@pytest.mark.parametrize("port", [0, None])
async def test_localhost_is_both_families(
    sshd: OpenSSHServer, side: Side, port: int | None
) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            wanted = Endpoint("localhost", free_port() if port is None else port)
            listening = await tunnel.add(rule(side, 0, echo.port, listen=wanted))
            assert listening.port == (wanted.port or listening.port) != 0
            for host in ("127.0.0.1", "::1"):
                assert await in_thread(say_hello, host, listening.port) == b"hello"


@BOTH_SIDES
async def test_an_address_is_that_address_alone(sshd: OpenSSHServer, side: Side) -> None:
    sshd.reconfigure("GatewayPorts clientspecified")
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            for host, other in (("127.0.0.1", "::1"), ("::1", "127.0.0.1")):
                listen = Endpoint(host, 0)
                listening = await tunnel.add(rule(side, 0, echo.port, listen=listen))
                assert await in_thread(say_hello, host, listening.port) == b"hello"
                with pytest.raises(ConnectionRefusedError):
                    await in_thread(say_hello, other, listening.port)


@BOTH_SIDES
async def test_port_0_is_chosen_anew_for_each(sshd: OpenSSHServer, side: Side) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            wanted = rule(side, 0, echo.port)
            ports = [(await tunnel.add(wanted)).port for _ in range(5)]
            assert len({*ports, 0}) == 6
            for port in ports:
                assert await in_thread(say_hello, LOOPBACK, port) == b"hello"


async def test_a_port_that_the_server_chose_is_the_one_given_back(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await tunnel.remote(echo.port)
            await tunnel.forward().close(0)
            # The same port can be had again, which it cannot while the server holds it.
            assert await tunnel.remote(echo.port, port=port) == port
            assert await in_thread(say_hello, LOOPBACK, port) == b"hello"


@BOTH_SIDES
async def test_every_address(sshd: OpenSSHServer, side: Side) -> None:
    sshd.reconfigure("GatewayPorts clientspecified")
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            wanted = rule(side, 0, echo.port, listen=Endpoint("*", 0), expose=True)
            listening = await tunnel.add(wanted)
            for host in ("127.0.0.1", "127.0.0.9", "::1"):
                assert await in_thread(say_hello, host, listening.port) == b"hello"


async def test_one_family_taken_takes_neither(sshd: OpenSSHServer) -> None:
    with EchoService(host="::1") as holder:
        async with tunnel_to(None) as tunnel:
            wanted = rule(Side.HERE, 0, 9, listen=Endpoint("localhost", holder.port))
            with pytest.raises(Failure) as caught:
                await tunnel.add(wanted)
            assert caught.value.code is Code.PORT_IN_USE
            with pytest.raises(ConnectionRefusedError):
                connect(holder.port)


# Who may come


def from_address(source: str, port: int) -> bytes:
    """Say hello to 127.0.0.1:`port` from another address of this machine."""
    try:
        with socket.create_connection((LOOPBACK, port), 30, (source, 0)) as connection:
            return exchange(connection, b"hello")
    except (ConnectionResetError, EOFError):
        return b""


@BOTH_SIDES
async def test_only_clients_of_allowed_networks_come(sshd: OpenSSHServer, side: Side) -> None:
    allow = (ip_network("127.0.1.0/24"), ip_network("127.7.7.7/32"), ip_network("fd00::/8"))
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = (await tunnel.add(rule(side, 0, echo.port, allow=allow))).port
            for source in ("127.0.1.1", "127.0.1.254", "127.7.7.7"):
                assert await in_thread(from_address, source, port) == b"hello", source
            for source in ("127.0.0.1", "127.0.2.1", "127.7.7.8"):
                assert await in_thread(from_address, source, port) == b"", source
            counters = tunnel.forward().counters
            await eventually_async(lambda: counters.open == 0, "all are gone")
            assert (counters.total, counters.failed, echo.accepted) == (6, 3, 3)
            assert [failure.code for failure in tunnel.failures] == [Code.PERMISSION_DENIED] * 3
            assert "127.0.0.1 is not allowed" in tunnel.failures[0].message


@BOTH_SIDES
async def test_more_than_allowed_at_once_are_turned_away(sshd: OpenSSHServer, side: Side) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            wanted = rule(side, 0, echo.port, max_connections=3)
            port = (await tunnel.add(wanted)).port
            staying = [await in_thread(connect, port) for _ in range(3)]
            for connection in staying:
                assert await in_thread(exchange, connection, b"hello") == b"hello"
            assert await in_thread(say_hello, LOOPBACK, port) == b""
            for connection in staying:
                assert await in_thread(exchange, connection, b"still") == b"still"
            staying.pop().close()
            counters = tunnel.forward().counters
            await eventually_async(lambda: counters.open == 2, "there is room")
            assert await in_thread(say_hello, LOOPBACK, port) == b"hello"
            for connection in staying:
                connection.close()
            await eventually_async(lambda: counters.open == 0, "all are gone")
            assert (counters.total, counters.failed) == (5, 1)
            assert "limit of 3 connections reached" in tunnel.failures[0].message


async def test_clients_that_wait_for_a_link_count_as_well() -> None:
    async with tunnel_to(None) as tunnel:
        port = await tunnel.local(9, max_connections=2)
        with connect(port), connect(port):
            await eventually_async(lambda: tunnel.forward().counters.open == 2, "both wait")
            assert await in_thread(say_hello, LOOPBACK, port) == b""


# Why it failed


async def failure_of(tunnel: Tunnel, target: Endpoint) -> Failure:
    """Why a client of a local forward to `target` was not served."""
    port = (await tunnel.add(rule(Side.HERE, 0, target))).port
    before = len(tunnel.failures)
    assert await in_thread(say_hello, LOOPBACK, port) == b""
    assert len(tunnel.failures) == before + 1
    return tunnel.failures[-1]


async def test_why_the_server_did_not_reach_a_target(sshd: OpenSSHServer) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        closed = Endpoint(LOOPBACK, free_port())
        refused = await failure_of(tunnel, closed)
        assert refused.code is Code.TARGET_REFUSED
        assert f"{closed} through server: connection refused" in refused.message
        unknown = await failure_of(tunnel, Endpoint("no-such-host.invalid", 80))
        assert unknown.code is Code.TARGET_UNREACHABLE
        assert "no-such-host.invalid:80 through server" in unknown.message
        # In sshd's own words, of which there are several.
        assert "Name or service not known" in unknown.message or "resolve" in unknown.message
        nowhere = await failure_of(tunnel, Endpoint("255.255.255.255", 80))
        assert nowhere.code is Code.TARGET_UNREACHABLE
        assert "255.255.255.255:80 through server" in nowhere.message
        for failure in (refused, unknown, nowhere):
            assert failure.retryable


async def test_why_we_did_not_reach_a_target(sshd: OpenSSHServer) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        for target, code, words in (
            (Endpoint(LOOPBACK, free_port()), Code.TARGET_REFUSED, "connection refused"),
            (Endpoint("no-such-host.invalid", 80), Code.TARGET_UNREACHABLE, "cannot reach"),
            (Endpoint("a" * 70, 80), Code.TARGET_UNREACHABLE, "Name or service not known"),
            (Endpoint("255.255.255.255", 80), Code.TARGET_UNREACHABLE, "unreachable"),
        ):
            port = (await tunnel.add(rule(Side.THERE, 0, target))).port
            assert await in_thread(say_hello, LOOPBACK, port) == b""
            failure = tunnel.failures[-1]
            assert failure.code is code, failure
            assert str(target) in failure.message
            assert words in failure.message
        assert not tunnel.link.closed.done()


async def test_failures_of_many_at_once_stay_with_their_own(sshd: OpenSSHServer) -> None:
    closed = [Endpoint(LOOPBACK, free_port()) for _ in range(4)]
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            good = await tunnel.local(echo.port)
            bad = [(await tunnel.add(rule(Side.HERE, 0, target))).port for target in closed]
            said = await asyncio.gather(
                *(in_thread(say_hello, LOOPBACK, port) for port in [good, *bad] * 5)
            )
            assert said == [b"hello", b"", b"", b"", b""] * 5
            told = [failure.message for failure in tunnel.failures]
            for target in closed:
                assert sum(str(target) in message for message in told) == 5
            assert len(told) == 20


async def test_a_denied_listener_says_why_it_may_be(sshd: OpenSSHServer) -> None:
    sshd.reconfigure("PermitListen 127.0.0.1:1")
    async with tunnel_to(sshd.host()) as tunnel:
        for port, hint in ((free_port(), "PermitListen"), (80, "root")):
            with pytest.raises(Failure) as caught:
                await tunnel.remote(9, port=port)
            assert caught.value.code is Code.FORWARD_DENIED
            assert f"127.0.0.1:{port}" in caught.value.message
            assert hint in caught.value.hint
        assert not tunnel.link.closed.done()
