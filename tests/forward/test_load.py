"""Back pressure and churn: memory bounded by what readers take, nothing left of what is over."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading

import pytest

from tests.support.clients import exchange, pour
from tests.support.leaks import holdings
from tests.support.memory import MIB, Growth
from tests.support.services import EchoService, Received, Service, Stream, connect, receive, reset
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.spec.forward import Side
from tunnelctl.ssh.link.relay import Relay
from tunnelctl.wire.channel import Channel
from tunnelctl.wire.window import OPENSSH_WINDOW_LIMIT, WINDOW

BOTH_SIDES = pytest.mark.parametrize("side", list(Side))
_SLOW = 4  # readers at once
# Of the sender, the loop and the allocator, whatever the number of streams.
_BASE = 16 * MIB
_CHURN = int(os.environ.get("TUNNELCTL_CHURN", "3000"))  # connections


def read_slowly(connection: socket.socket, over: threading.Event) -> None:
    """Take a kilobyte a second."""
    while connection.recv(1024) and not over.wait(1.0):
        pass


async def there_and_back(port: int, stream: Stream) -> Received:
    """Send a stream to an echo, end it, and see what comes back."""
    with connect(port) as connection:
        back = in_thread(receive, connection)
        await in_thread(stream.send, connection)
        connection.shutdown(socket.SHUT_WR)
        return await back


async def listen(tunnel: Tunnel, side: Side, target: int) -> int:
    """A forward to `target` that listens here or there."""
    return await (tunnel.local(target) if side is Side.HERE else tunnel.remote(target))


@BOTH_SIDES
@pytest.mark.parametrize("slow", ["client", "target"])
async def test_slow_readers_cost_their_windows_and_nobody_else(
    sshd: OpenSSHServer, side: Side, slow: str
) -> None:
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        if slow == "target":
            read_slowly(connection, over)
        else:
            pour(connection)

    stream = Stream(64 * MIB, seed=4)
    with Service(serve) as service, EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port, lively = [await listen(tunnel, side, s.port) for s in (service, echo)]
            # Once without them, so that what is measured is theirs.
            assert (await there_and_back(lively, stream)).end == "fin"
            growth = Growth()
            growth.begin()
            clients = [connect(port) for _ in range(_SLOW)]
            if slow == "client":
                busy = [in_thread(read_slowly, client, over) for client in clients]
            else:
                busy = [in_thread(lambda c: void(pour(c)), client) for client in clients]
            received = await there_and_back(lively, stream)
            assert received == Received(stream.size, stream.sha256, "fin")
            counters = tunnel.forward(0).counters
            assert counters.open == _SLOW
            # All of them are stuck in what the windows and the kernel hold.
            moved = max(counters.bytes_in, counters.bytes_out)
            assert WINDOW < moved < _SLOW * 32 * MIB
            # On a busy machine sshd looks far away, and windows grow as for a far server.
            assert growth.peak < _SLOW * (OPENSSH_WINDOW_LIMIT + 65_536) + _BASE
            over.set()
            for client in clients:
                reset(client)
            service.cut()
            await asyncio.wait(busy)
            await eventually_async(lambda: counters.open == 0, "all are gone")


def void(_result: object) -> None:
    """For threads of whom nobody wants to know how they ended."""


@pytest.mark.timeout(180 + _CHURN // 50)
async def test_churn_leaves_nothing_behind(sshd: OpenSSHServer) -> None:
    def come_and_go(port: int, times: int) -> int:
        done = 0
        for number in range(times):
            connection = connect(port)
            message = b"%d" % number
            assert exchange(connection, message) == message
            done += 1
            if number % 3:
                connection.close()
            else:
                reset(connection)
        return done

    async def churn(times: int) -> None:
        done = await asyncio.gather(
            *(in_thread(come_and_go, port, times // len(ports)) for port in ports)
        )
        assert sum(done) == times // len(ports) * len(ports)
        await eventually_async(lambda: not tunnel.link.connection.channels, "all are closed")
        await eventually_async(lambda: echo.open == 0, "at the target too")

    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            ports = [await listen(tunnel, side, echo.port) for side in list(Side) * 2]
            await churn(_CHURN // 5)
            before = holdings()
            growth = Growth()
            growth.begin()
            await churn(_CHURN)
            await eventually_async(lambda: not holdings().beyond(before), "all is given back")
            assert growth.peak < 4 * MIB
            for number in range(len(ports)):
                counters = tunnel.forward(number).counters
                assert (counters.open, counters.failed) == (0, 0)


@BOTH_SIDES
async def test_what_is_over_waits_for_no_garbage_collection(
    sshd: OpenSSHServer, side: Side
) -> None:
    """Its pauses would be somebody's latency."""

    def left() -> int:
        return sum(isinstance(thing, Relay | Channel) for thing in gc.get_objects())

    def come_and_go(port: int) -> None:
        for number in range(10):
            with connect(port) as connection:
                assert exchange(connection, b"there") == b"there"
                if number % 2:
                    reset(connection)

    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = await listen(tunnel, side, echo.port)
            gc.collect()
            gc.disable()
            try:
                await in_thread(come_and_go, port)
                await eventually_async(lambda: left() == 0, "all are gone")
            finally:
                gc.enable()
