"""What is known of a connection: who, to where, how much, in which state, and how it ended."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.clients import ask, exchange
from tests.support.ports import free_port
from tests.support.services import EchoService, ResetService, connect, receive, reset
from tests.support.socks import ask5
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, rule, tunnel_to
from tests.support.unix_sockets import connected
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code
from tunnelctl.forward.client_connections import ConnectionLog, Connections
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Side, WhileDown
from tunnelctl.spec.permit import parse_permit
from tunnelctl.ssh.link.record import Ending
from tunnelctl.state.documents.connection_status import (
    ConnectionEnd,
    ConnectionState,
    ConnectionStatus,
    End,
)
from tunnelctl.supervisor.records.connection_list import ConnectionStatuses, WantedConnections

BOTH_SIDES = pytest.mark.parametrize("side", list(Side))


async def ended(tunnel: Tunnel, count: int = 1) -> list[ConnectionStatus]:
    """The connections that ended, once there are `count`."""
    await eventually_async(lambda: tunnel.forward().counters.total >= count, "they came")
    await eventually_async(lambda: tunnel.forward().counters.open == 0, "they ended")
    return list((await tunnel.connections()).ended)


async def living(tunnel: Tunnel) -> ConnectionStatus:
    """The only connection that is open."""
    (one,) = (await tunnel.connections()).connections
    return one


@BOTH_SIDES
async def test_an_open_connection_and_its_orderly_end(sshd: OpenSSHServer, side: Side) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            listening = await tunnel.add(rule(side, 0, echo.port))
            with connect(listening.port) as client:
                assert await in_thread(exchange, client, b"hello") == b"hello"
                one = await living(tunnel)
                client.shutdown(socket.SHUT_WR)
                assert (await in_thread(receive, client)).end == "fin"
            host, port = client_name(one)
            assert host == "127.0.0.1"
            assert port != listening.port
            assert (one.forward, one.host, one.link) == ("test", "server", 1)
            assert one.target == f"127.0.0.1:{echo.port}"
            assert one.state is ConnectionState.OPEN
            assert (one.bytes_in, one.bytes_out) == (5, 5)
            assert (one.until, one.how, one.error) == (None, None, None)
            (over,) = await ended(tunnel)
            assert (over.id, over.client, over.since) == (one.id, one.client, one.since)
            assert (over.state, over.how) == (ConnectionState.ENDED, ConnectionEnd.FIN)
            assert over.until is not None
            assert over.until >= over.since
            assert (over.bytes_in, over.bytes_out, over.rate_in) == (5, 5, 0.0)


def client_name(connection: ConnectionStatus) -> tuple[str, int]:
    """Its host and port."""
    host, _, port = connection.client.rpartition(":")
    return host, int(port)


async def test_the_client_is_the_one_that_connected(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            with connect(await tunnel.local(echo.port)) as client:
                assert await in_thread(exchange, client, b"hello") == b"hello"
                assert (await living(tunnel)).client == f"127.0.0.1:{name_of(client)}"


async def test_a_refused_client_says_why(sshd: OpenSSHServer) -> None:
    closed = free_port()
    async with tunnel_to(sshd.host()) as tunnel:
        port = await tunnel.local(closed)
        with pytest.raises(ConnectionResetError):
            await in_thread(ask, port, b"hello")
        (one,) = await ended(tunnel)
        assert one.how is ConnectionEnd.REFUSED
        assert one.error is not None
        assert one.error.code == Code.TARGET_REFUSED
        assert str(closed) in one.error.message
        assert one.target == f"127.0.0.1:{closed}"


async def test_a_target_here_that_refuses(sshd: OpenSSHServer) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        port = await tunnel.remote(free_port())
        with connect(port) as client:
            await in_thread(receive, client)
        (one,) = await ended(tunnel)
        assert one.how is ConnectionEnd.REFUSED
        assert one.error is not None
        assert one.error.code == Code.TARGET_REFUSED


async def test_a_client_that_resets(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            client = connect(await tunnel.local(echo.port))
            assert await in_thread(exchange, client, b"hello") == b"hello"
            reset(client)
            (one,) = await ended(tunnel)
            assert (one.how, one.reset_by) == (ConnectionEnd.RESET, End.CLIENT)


async def test_a_target_here_that_resets(sshd: OpenSSHServer) -> None:
    with ResetService(after=4) as service:
        async with tunnel_to(sshd.host()) as tunnel:
            with connect(await tunnel.remote(service.port)) as client:
                client.sendall(b"1234")
                await in_thread(receive, client)
            (one,) = await ended(tunnel)
            assert (one.how, one.reset_by) == (ConnectionEnd.RESET, End.TARGET)


@BOTH_SIDES
async def test_an_order_resets_it(sshd: OpenSSHServer, side: Side) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            listening = await tunnel.add(rule(side, 0, echo.port))
            with connect(listening.port) as client, connect(listening.port) as other:
                for each in (client, other):
                    assert await in_thread(exchange, each, b"hello") == b"hello"
                found = (await tunnel.connections()).connections
                first = next(one for one in found if client_name(one)[1] == name_of(client))
                assert tunnel.close_connection(first.id)
                end = (await in_thread(receive, client)).end
                # sshd closes a client of its own with FIN.
                assert end == "reset" or side is Side.THERE
                await eventually_async(lambda: echo.open == 1, "its target saw the end")
                (over,) = (await tunnel.connections()).ended
                assert (over.id, over.how) == (first.id, ConnectionEnd.CLOSED)
                assert not tunnel.close_connection(first.id), "it has ended"
                assert await in_thread(exchange, other, b"still") == b"still"


def name_of(client: socket.socket) -> int:
    """Its own port."""
    port: int = client.getsockname()[1]
    return port


async def test_a_lost_link(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            with connect(await tunnel.local(echo.port)) as client:
                assert await in_thread(exchange, client, b"hello") == b"hello"
                sshd.kill()
                await asyncio.wait_for(asyncio.shield(tunnel.link.closed), 20)
                assert (await in_thread(receive, client)).end == "reset"
            (one,) = await ended(tunnel)
            assert one.how is ConnectionEnd.SESSION_LOST


async def test_clients_that_wait_for_the_link() -> None:
    """One leaves, one is closed by an order, and one waits until its time is over."""
    async with tunnel_to(None) as tunnel:
        port = await tunnel.local(9, while_down=WhileDown(hold=1.0))
        leaving, closed, staying = connect(port), connect(port), connect(port)
        await eventually_async(lambda: tunnel.forward().counters.open == 3, "they wait")
        found = (await tunnel.connections()).connections
        assert [one.state for one in found] == [ConnectionState.WAITING] * 3
        assert [one.link for one in found] == [None] * 3
        by_port = {client_name(one)[1]: one.id for one in found}
        ids = [by_port[name_of(each)] for each in (leaving, closed, staying)]
        reset(leaving)
        assert tunnel.close_connection(ids[1])
        with closed, staying:
            for each in (closed, staying):
                assert (await in_thread(receive, each)).end == "reset"
        how = {one.id: one.how for one in await ended(tunnel, 3)}
        expected = ConnectionEnd.LEFT, ConnectionEnd.CLOSED, ConnectionEnd.REFUSED
        assert tuple(how[number] for number in ids) == expected


async def test_a_socks_client_names_its_target_late(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            proxy = await tunnel.local(None)
            with connect(proxy):
                await eventually_async(lambda: tunnel.forward().counters.open == 1, "it came")
                one = await living(tunnel)
                assert (one.target, one.state) == (None, ConnectionState.OPENING)
            (one,) = await ended(tunnel)
            assert one.how is ConnectionEnd.LEFT
            asked = await in_thread(ask5, proxy, "localhost", echo.port)
            with asked.connection as connection:
                assert await in_thread(exchange, connection, b"hello") == b"hello"
                assert (await living(tunnel)).target == f"localhost:{echo.port}"


@BOTH_SIDES
async def test_a_client_that_speaks_no_socks(sshd: OpenSSHServer, side: Side) -> None:
    permit = (parse_permit("127.0.0.1:*"),) if side is Side.THERE else ()
    async with tunnel_to(sshd.host()) as tunnel:
        listening = await tunnel.add(rule(side, 0, None, permit=permit))
        with connect(listening.port) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            await in_thread(receive, client)
        (one,) = await ended(tunnel)
        assert one.how is ConnectionEnd.REFUSED
        assert one.error is not None
        assert one.error.code == Code.HANDSHAKE_FAILED
        assert "SOCKS" in one.error.message


async def test_a_client_of_a_unix_socket(sshd: OpenSSHServer, tmp_path: Path) -> None:
    listen = Endpoint(path=str(tmp_path / "listen"))
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            await tunnel.add(rule(Side.HERE, 0, echo.port, listen=listen))
            with connected(listen) as client:
                assert await in_thread(exchange, client, b"hello") == b"hello"
                assert (await living(tunnel)).client == f"pid {os.getpid()}"


async def test_the_last_hundred_that_ended_are_kept_and_ids_are_never_used_again() -> None:
    log = ConnectionLog()
    with closing(Reactor(asyncio.get_running_loop())) as reactor:
        forwards = [Connections(reactor, log, listening_here=True) for _ in range(2)]
        statuses = ConnectionStatuses(log, lambda: [(forward, ()) for forward in forwards])
        for number in range(130):
            forward = forwards[number % 2]
            forward.failed(forward.began(("127.0.0.1", 5000)), Code.SESSION_LOST, Ending.LEFT)
        found = await statuses.look(WantedConnections())
    assert found.connections == ()
    assert [int(one.id) for one in found.ended] == list(range(31, 131))


async def test_rates_are_those_of_now(sshd: OpenSSHServer) -> None:
    """A connection that moved much, and then nothing, has no rate; the first answer knows that."""
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await tunnel.local(echo.port)
            with connect(port) as quiet, connect(port) as busy:
                assert await in_thread(exchange, quiet, b"x" * 50_000) == b"x" * 50_000
                over = asyncio.Event()

                async def talk() -> None:
                    while not over.is_set():
                        await in_thread(exchange, busy, b"x" * 10_000)

                talking = asyncio.ensure_future(talk())
                found = (await tunnel.connections()).connections
                over.set()
                await talking
                rates = {client_name(one)[1]: (one.rate_in, one.rate_out) for one in found}
                assert rates[name_of(quiet)] == (0.0, 0.0)
                assert min(rates[name_of(busy)]) > 10_000


async def test_a_client_of_a_unix_socket_of_the_server(sshd: OpenSSHServer, tmp_path: Path) -> None:
    listen = Endpoint(path=str(tmp_path / "there"))
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            await tunnel.add(rule(Side.THERE, 0, echo.port, listen=listen))
            with connected(listen) as client:
                assert await in_thread(exchange, client, b"hello") == b"hello"
                assert (await living(tunnel)).client == "unix"


# Closed by an order before it is open.


async def closed_early(tunnel: Tunnel, client: socket.socket) -> None:
    """The only connection is being opened; an order ends it, and its client sees that."""
    await eventually_async(lambda: tunnel.forward().counters.open == 1, "it came")
    one = await living(tunnel)
    assert one.state is ConnectionState.OPENING
    assert tunnel.close_connection(one.id)
    assert (await in_thread(receive, client)).end in ("reset", "fin")
    (over,) = await ended(tunnel)
    assert (over.id, over.how) == (one.id, ConnectionEnd.CLOSED)


@BOTH_SIDES
async def test_a_socks_client_is_closed_before_its_request(sshd: OpenSSHServer, side: Side) -> None:
    permit = (parse_permit("127.0.0.1:*"),) if side is Side.THERE else ()
    async with tunnel_to(sshd.host()) as tunnel:
        listening = await tunnel.add(rule(side, 0, None, permit=permit))
        with connect(listening.port) as client:
            await closed_early(tunnel, client)


@BOTH_SIDES
async def test_a_client_is_closed_while_its_target_does_not_answer(
    sshd: OpenSSHServer, side: Side
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        port = silent.getsockname()[1]
        with connect(port):  # the backlog is full: nobody else is answered
            async with tunnel_to(sshd.host()) as tunnel:
                listening = await tunnel.add(rule(side, 0, port))
                with connect(listening.port) as client:
                    await closed_early(tunnel, client)


async def test_a_client_that_leaves_while_its_target_does_not_answer(sshd: OpenSSHServer) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        port = silent.getsockname()[1]
        with connect(port):
            async with tunnel_to(sshd.host()) as tunnel:
                client = connect(await tunnel.local(port))
                await eventually_async(lambda: tunnel.forward().counters.open == 1, "it came")
                reset(client)
                (one,) = await ended(tunnel)
                assert (one.how, one.reset_by) == (ConnectionEnd.LEFT, None)
