"""Links over a network that misbehaves: silence, slices, delay, a wrong byte, a reset."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.chaos import ChaosProxy, Direction
from tests.support.clients import exchange, pour
from tests.support.services import EchoService, Received, Stream, connect, receive
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import tunnel_to
from tests.support.waiting import BUSY, eventually
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host
from tunnelctl.ssh.link.link import Link

_INTERVAL, _COUNT = 0.5, 2
_NOTICED = _INTERVAL * (_COUNT + 1) + BUSY


@pytest.fixture
def proxy(sshd: OpenSSHServer) -> Iterator[ChaosProxy]:
    """A bad network between us and the server."""
    with ChaosProxy(sshd.port) as chaos:
        yield chaos


def through(proxy: ChaosProxy, sshd: OpenSSHServer) -> Host:
    """The server as it is reached through the proxy; its key is pinned by the server's name."""
    return sshd.host(
        port=proxy.port,
        host_key_alias=sshd.pattern,
        server_alive_interval=_INTERVAL,
        server_alive_count_max=_COUNT,
    )


def end_of_stream(connection: socket.socket) -> str:
    """Read to the end: `fin` or `reset`."""
    return receive(connection).end


async def end_of(link: Link) -> Failure:
    """Why the link ended; waits for it."""
    return await asyncio.wait_for(asyncio.shield(link.closed), 30)


@pytest.mark.parametrize("loaded", [False, True])
async def test_a_silent_server_is_noticed_in_time(sshd: OpenSSHServer, loaded: bool) -> None:
    host = sshd.host(server_alive_interval=_INTERVAL, server_alive_count_max=_COUNT)
    with EchoService() as echo:
        async with tunnel_to(host) as tunnel:
            with connect(await tunnel.local(echo.port)) as connection:
                assert await in_thread(exchange, connection, b"alive") == b"alive"
                cut = (
                    in_thread(pour, connection) if loaded else in_thread(end_of_stream, connection)
                )
                sshd.pause()
                since = time.monotonic()
                failure = await end_of(tunnel.link)
                assert time.monotonic() - since < _NOTICED
                assert failure.code is Code.PEER_SILENT
                assert failure.retryable
                assert await cut == "reset"


@pytest.mark.parametrize("direction", list(Direction))
async def test_one_way_silence_of_the_network_is_noticed_in_time(
    sshd: OpenSSHServer, proxy: ChaosProxy, direction: Direction
) -> None:
    async with tunnel_to(through(proxy, sshd)) as tunnel:
        proxy.stall(direction)
        since = time.monotonic()
        assert (await end_of(tunnel.link)).code is Code.PEER_SILENT
        assert time.monotonic() - since < _NOTICED


async def test_an_idle_link_stays(sshd: OpenSSHServer, proxy: ChaosProxy) -> None:
    async with tunnel_to(through(proxy, sshd)) as tunnel:
        # Slow, but alive: half a second each way is no reason to give up.
        proxy.delay(0.25, jitter=0.1)
        done, _ = await asyncio.wait([tunnel.link.closed], timeout=_INTERVAL * (_COUNT + 1) * 3)
        assert not done
        assert tunnel.link.liveness.rtt is not None
        assert tunnel.link.liveness.rtt > 0.2


async def test_bytes_are_right_in_slices(sshd: OpenSSHServer, proxy: ChaosProxy) -> None:
    stream = Stream(1_000_000, seed=9)
    with EchoService() as echo:
        async with tunnel_to(through(proxy, sshd)) as tunnel:
            proxy.cut_up(61)
            with connect(await tunnel.local(echo.port)) as connection:
                back = in_thread(receive, connection)
                sent = await in_thread(stream.send, connection)
                connection.shutdown(socket.SHUT_WR)
                assert await back == Received(stream.size, sent, "fin")


@pytest.mark.parametrize("direction", list(Direction))
async def test_a_wrong_byte_ends_the_link_and_reaches_nobody(
    sshd: OpenSSHServer, proxy: ChaosProxy, direction: Direction
) -> None:
    message = bytes(100_000)
    with EchoService() as echo:
        async with tunnel_to(through(proxy, sshd)) as tunnel:
            port = await tunnel.local(echo.port)
            with connect(port) as connection:
                assert await in_thread(exchange, connection, message) == message
                proxy.flip(proxy.bytes(direction) + 50_000, direction)
                connection.sendall(message)
                got = await in_thread(receive, connection)
                right = hashlib.sha256(bytes(got.size)).hexdigest()
                assert got == Received(got.size, right, "reset")
            failure = await end_of(tunnel.link)
            assert failure.code is Code.SESSION_LOST
            assert failure.retryable


async def test_a_reset_of_the_network_is_noticed_at_once(
    sshd: OpenSSHServer, proxy: ChaosProxy
) -> None:
    """By its silence it would be noticed later, and with another code."""
    async with tunnel_to(through(proxy, sshd)) as tunnel:
        proxy.reset()
        assert (await end_of(tunnel.link)).code is Code.SESSION_LOST


async def test_a_server_that_never_greets_is_given_up_in_time(
    sshd: OpenSSHServer, proxy: ChaosProxy
) -> None:
    proxy.stall()
    since = time.monotonic()
    with pytest.raises(Failure) as caught:
        async with tunnel_to(sshd.host(port=proxy.port, connect_timeout=1.0)):
            pytest.fail("connected to a silent server")
    assert caught.value.code is Code.TIMED_OUT
    assert caught.value.retryable
    assert time.monotonic() - since < 1.0 + BUSY


async def test_a_connection_attempt_can_be_taken_back(
    sshd: OpenSSHServer, proxy: ChaosProxy
) -> None:
    proxy.stall()

    async def attempt() -> None:
        async with tunnel_to(sshd.host(port=proxy.port)):
            pytest.fail("connected to a silent server")

    task = asyncio.ensure_future(attempt())
    await in_thread(wait_for_connection, proxy)
    task.cancel()
    since = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - since < BUSY  # by itself it would end after connect_timeout, 15 s


def wait_for_connection(proxy: ChaosProxy) -> None:
    """Return once someone is connected to the proxy."""
    eventually(lambda: proxy.connections, "someone is connected")
