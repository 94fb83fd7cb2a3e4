"""How a stream ends: FIN only where the far side sent FIN, a reset for everything else."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.clients import exchange, pour
from tests.support.ports import free_port
from tests.support.services import (
    EchoService,
    ResetService,
    Service,
    SinkService,
    connect,
    receive,
    reset,
)
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.forward import Side, WhileDown

BOTH_SIDES = pytest.mark.parametrize("side", list(Side))


def end_of(port: int) -> str:
    """Connect and see how it ends; a reset may come with the connection itself."""
    try:
        with connect(port) as connection:
            return receive(connection).end
    except ConnectionResetError:
        return "reset"


async def listen(tunnel: Tunnel, side: Side, target: int) -> int:
    """A forward to `target` that listens here or there."""
    return await (tunnel.local(target) if side is Side.HERE else tunnel.remote(target))


async def test_a_refused_target_is_a_reset_and_is_counted(sshd: OpenSSHServer) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        port = await tunnel.local(free_port())
        assert await in_thread(end_of, port) == "reset"
        assert await in_thread(end_of, port) == "reset"
        assert [failure.code for failure in tunnel.failures] == [Code.TARGET_REFUSED] * 2
        counters = tunnel.forward().counters
        assert (counters.open, counters.failed) == (0, 2)


async def test_a_refused_target_on_this_side_ends_the_remote_client(sshd: OpenSSHServer) -> None:
    target = free_port()
    async with tunnel_to(sshd.host()) as tunnel:
        port = await tunnel.remote(target)
        # How sshd closes its own client is sshd's choice; that it does so at once is ours.
        assert await in_thread(end_of, port) in ("reset", "fin")
        assert [failure.code for failure in tunnel.failures] == [Code.TARGET_REFUSED]
        assert str(target) in tunnel.failures[0].message
        # The service starts late: the same forward reaches it.
        with EchoService(target), connect(port) as connection:
            assert await in_thread(exchange, connection, b"there") == b"there"


@BOTH_SIDES
async def test_a_target_that_resets_ends_the_client(sshd: OpenSSHServer, side: Side) -> None:
    with ResetService(after=4) as service:
        async with tunnel_to(sshd.host()) as tunnel:
            with connect(await listen(tunnel, side, service.port)) as connection:
                connection.sendall(b"1234")
                # sshd tells a target's reset as EOF, and closes its own clients with FIN for
                # a channel that was cut: which one the client sees is not ours to choose.
                assert (await in_thread(receive, connection)).end in ("reset", "fin")
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "it is given back")


@BOTH_SIDES
async def test_an_answer_to_half_a_request_arrives(sshd: OpenSSHServer, side: Side) -> None:
    """Of a server that closes without having read the rest, which resets after the answer."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(b"501")

    def ask(port: int) -> bytes:
        with connect(port) as connection:
            connection.sendall(bytes(50_000))
            return connection.recv(3)

    with Service(refuse) as service:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await listen(tunnel, side, service.port)
            assert [await in_thread(ask, port) for _ in range(30)] == [b"501"] * 30


@BOTH_SIDES
async def test_a_client_that_resets_ends_at_the_target(sshd: OpenSSHServer, side: Side) -> None:
    with SinkService() as sink:
        async with tunnel_to(sshd.host()) as tunnel:
            client = connect(await listen(tunnel, side, sink.port))
            client.sendall(b"1234")
            await eventually_async(lambda: sink.open == 1, "the target has the connection")
            reset(client)
            ended = await in_thread(sink.received)
            # Where we hold the target's socket the reset passes on; sshd says FIN for either.
            assert ended.end in ("reset", "fin")
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "it is given back")


@BOTH_SIDES
async def test_a_lost_link_is_a_reset_on_our_side(sshd: OpenSSHServer, side: Side) -> None:
    with SinkService() as sink, EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            if side is Side.HERE:
                with connect(await tunnel.local(echo.port)) as connection:
                    assert await in_thread(exchange, connection, b"first") == b"first"
                    sshd.kill()
                    failure = await asyncio.wait_for(asyncio.shield(tunnel.link.closed), 20)
                    assert (await in_thread(receive, connection)).end == "reset"
            else:
                with connect(await tunnel.remote(sink.port)) as connection:
                    connection.sendall(b"first")
                    await eventually_async(lambda: sink.open == 1, "the target has it")
                    sshd.kill()
                    failure = await asyncio.wait_for(asyncio.shield(tunnel.link.closed), 20)
                    assert (await in_thread(sink.received)).end == "reset"
            assert failure.code is Code.SESSION_LOST
            assert failure.retryable


async def test_a_stream_that_is_cut_half_way_never_looks_complete(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await tunnel.local(echo.port)
            with connect(port) as connection:
                sent = in_thread(pour, connection)
                received = in_thread(receive, connection)
                await eventually_async(
                    lambda: tunnel.forward().counters.bytes_in > 10_000_000, "bytes flow"
                )
                sshd.kill_sessions()
                # The kernel tells a reset once: to whichever of the two asks first.
                assert "reset" in (await sent, (await received).end)


async def test_closing_a_forward_drains_first_and_resets_what_stays(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await tunnel.local(echo.port)
            with connect(port) as ending, connect(port) as staying:
                for connection in (ending, staying):
                    assert await in_thread(exchange, connection, b"hello") == b"hello"
                closing = asyncio.ensure_future(tunnel.forward().close(1.0))
                assert await in_thread(exchange, ending, b"still here") == b"still here"
                with pytest.raises(ConnectionRefusedError):
                    await in_thread(connect, port)
                ending.shutdown(socket.SHUT_WR)
                assert (await in_thread(receive, ending)).end == "fin"
                await closing
                assert (await in_thread(receive, staying)).end == "reset"


async def test_clients_wait_while_the_link_is_away_and_are_served_by_the_next_one(
    sshd: OpenSSHServer,
) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await tunnel.local(echo.port)
            sshd.kill()
            await asyncio.wait_for(asyncio.shield(tunnel.link.closed), 20)
            forward = tunnel.local_forward()
            forward.detach()
            with connect(port) as first, connect(port) as second:
                answers = [
                    in_thread(exchange, connection, message)
                    for connection, message in ((first, b"one"), (second, b"two"))
                ]
                sshd.start()
                forward.attach(await tunnel.connect(sshd.host()))
                assert await asyncio.gather(*answers) == [b"one", b"two"]
            assert forward.listening is not None
            assert forward.listening.port == port


async def test_clients_that_leave_while_they_wait_harm_nobody(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(None) as tunnel:
            port = await tunnel.local(echo.port)
            reset(connect(port))
            connect(port).close()
            with connect(port) as staying:
                answer = in_thread(exchange, staying, b"still here")
                tunnel.local_forward().attach(await tunnel.connect(sshd.host()))
                assert await answer == b"still here"
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "all are gone")


@BOTH_SIDES
async def test_clients_that_reset_before_the_far_side_is_open(
    sshd: OpenSSHServer, side: Side
) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await listen(tunnel, side, echo.port)

            def come_and_go() -> None:
                for turn in range(200):
                    client = connect(port)
                    if turn % 2:
                        client.sendall(b"lost")
                    reset(client)

            await in_thread(come_and_go)
            with connect(port) as connection:
                assert await in_thread(exchange, connection, b"alive") == b"alive"
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "all are gone")
            await eventually_async(lambda: echo.open == 0, "at the target too")
            assert not tunnel.link.closed.done()


@BOTH_SIDES
async def test_closing_in_mid_stream_resets_at_once(sshd: OpenSSHServer, side: Side) -> None:
    with SinkService() as sink:
        async with tunnel_to(sshd.host()) as tunnel:
            with connect(await listen(tunnel, side, sink.port)) as connection:
                cut = in_thread(pour, connection)
                counters = tunnel.forward().counters
                await eventually_async(
                    lambda: max(counters.bytes_in, counters.bytes_out) > 1_000_000, "bytes flow"
                )
                await asyncio.wait_for(tunnel.forward().close(0), 5)
                # Our side of the cut sees a reset; sshd has its own ways.
                if side is Side.HERE:
                    assert await cut == "reset"
                else:
                    assert (await in_thread(sink.received)).end == "reset"
                    await cut
            assert not tunnel.link.closed.done()


async def test_more_clients_than_allowed_are_reset(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await tunnel.local(echo.port, max_connections=2)
            with connect(port) as one, connect(port) as two:
                assert await in_thread(exchange, one, b"1") == b"1"
                assert await in_thread(exchange, two, b"2") == b"2"
                assert await in_thread(end_of, port) == "reset"
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "both are gone")
            with connect(port) as connection:
                assert await in_thread(exchange, connection, b"3") == b"3"


@pytest.mark.parametrize("hold", [0.0, 0.5])
async def test_a_client_is_reset_when_its_wait_is_over(sshd: OpenSSHServer, hold: float) -> None:
    async with tunnel_to(None) as tunnel:
        port = await tunnel.local(free_port(), while_down=WhileDown(hold=hold))
        assert await in_thread(end_of, port) == "reset"
        assert tunnel.forward().counters.failed == 1


async def test_a_local_port_in_use_names_its_holder(sshd: OpenSSHServer) -> None:
    with EchoService() as holder:
        async with tunnel_to(None) as tunnel:
            with pytest.raises(Failure) as caught:
                await tunnel.local(free_port(), port=holder.port)
            assert caught.value.code is Code.PORT_IN_USE
            assert str(holder.port) in str(caught.value)
            assert "pid" in str(caught.value)


async def test_a_remote_port_in_use_is_said_and_the_link_lives(
    sshd: OpenSSHServer,
) -> None:
    with EchoService() as holder:
        async with tunnel_to(sshd.host()) as tunnel:
            with pytest.raises(Failure) as caught:
                await tunnel.remote(free_port(), port=holder.port)
            assert caught.value.code is Code.PORT_IN_USE
            assert caught.value.exit_code == 76
            assert str(holder.port) in str(caught.value)
            with connect(await tunnel.remote(holder.port)) as connection:
                assert await in_thread(exchange, connection, b"alive") == b"alive"


async def test_a_server_that_forbids_forwarding_says_so(sshd: OpenSSHServer) -> None:
    sshd.reconfigure("AllowTcpForwarding no")
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            with pytest.raises(Failure) as caught:
                await tunnel.remote(echo.port)
            assert caught.value.code is Code.FORWARD_DENIED
            assert await in_thread(end_of, await tunnel.local(echo.port)) == "reset"
            assert [failure.code for failure in tunnel.failures] == [Code.FORWARD_DENIED]
