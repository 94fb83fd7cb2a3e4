"""asyncio and the data path on one epoll: neither misses what is its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.support.clients import ask, upload
from tests.support.services import Received, ReplyAfterEndService, SinkService, Stream
from tests.support.threads import in_thread
from tests.support.tunnel import tunnel_to
from tunnelctl import clock
from tunnelctl.net.reactor import READABLE, Reactor
from tunnelctl.net.selector import EdgeSelector, new_event_loop, shared_edges
from tunnelctl.spec.host import Host
from tunnelctl.sshd.server import EmbeddedServer

MIB = 1024 * 1024
_LATE = 10.0  # seconds


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run on a loop whose selector is shared, to its end."""

    async def main() -> None:
        assert shared_edges(asyncio.get_running_loop()) is not None
        await work()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


async def echo_beside(done: asyncio.Event) -> int:
    """What asyncio's own sockets do while the data path works: rounds of an echo."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    rounds = 0
    while not done.is_set():
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        rounds += 1
    writer.close()
    server.close()
    await server.wait_closed()
    return rounds


def test_a_tunnel_and_asyncio_share_the_epoll() -> None:
    stream = Stream(64 * MIB, seed=5)

    async def work() -> None:
        done = asyncio.Event()
        with SinkService() as sink, ReplyAfterEndService(bytes.upper) as reply:
            async with tunnel_to(None) as tunnel:
                server = EmbeddedServer(tunnel.reactor)
                await server.start()
                await tunnel.connect(server.client_host(Host("demo", "ignored")))
                beside = asyncio.create_task(echo_beside(done))
                sent = await in_thread(upload, await tunnel.local(sink.port), stream)
                assert await in_thread(sink.received) == Received(stream.size, sent, "fin")
                port = await tunnel.remote(reply.port)
                assert await in_thread(ask, port, b"half-close") == b"HALF-CLOSE"
                done.set()
                assert await beside > 0
                await tunnel.close()
                await server.close()

    run(work)


def test_subprocesses_timers_and_signals_go_on_as_usual() -> None:
    async def work() -> None:
        process = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate(b"through cat")
        assert out == b"through cat"
        loop = asyncio.get_running_loop()
        fired: asyncio.Future[None] = loop.create_future()
        loop.call_later(0.01, fired.set_result, None)
        await asyncio.wait_for(fired, 10)

    run(work)


def test_a_socket_can_be_watched_again_after_it_was_not() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        for sock in (left, right):
            sock.setblocking(False)
        for word in (b"one", b"two"):
            await loop.sock_sendall(left, word)
            assert await loop.sock_recv(right, 10) == word
        left.close()
        assert await loop.sock_recv(right, 10) == b""
        right.close()

    run(work)


class Telling:
    """A socket of the data path: what comes there is told to asyncio in every way there is."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        loop = asyncio.get_running_loop()
        self.result, self.soon, self.timed = (loop.create_future() for _ in range(3))

    def ready(self, events: int) -> None:
        if events & READABLE:
            word = self._sock.recv(10)
            self.result.set_result(word)
            loop = self.result.get_loop()
            loop.call_soon(self.soon.set_result, word)
            loop.call_later(0.01, self.timed.set_result, word)


def test_what_the_data_path_tells_asyncio_is_done_at_once() -> None:
    async def work() -> None:
        reactor = Reactor(asyncio.get_running_loop())
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            telling = Telling(left)
            reactor.register(left.fileno(), telling)
            right.send(b"word")
            # A time limit would wake the loop up: that no time passed is looked at instead.
            asyncio.get_running_loop().call_later(_LATE, lambda: None)
            began = clock.monotonic()
            for told in (telling.result, telling.soon, telling.timed):
                assert await told == b"word"
            assert clock.monotonic() - began < _LATE
            reactor.unregister(left.fileno())
        reactor.close()

    run(work)


def test_asyncio_gets_its_turn_however_busy_the_data_path_is() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        reactor = Reactor(loop)
        turns = 0
        busy = asyncio.Event()

        def again() -> None:
            nonlocal turns
            turns += 1
            if turns == 100:
                busy.set()
            reactor.soon(again)

        reactor.soon(again)
        await busy.wait()
        assert await loop.run_in_executor(None, lambda: "from a thread") == "from a thread"
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            right.send(b"word")
            assert await loop.sock_recv(left, 10) == b"word"
        reactor.close()

    run(work)


def test_it_keeps_the_rules_of_a_selector() -> None:
    selector = EdgeSelector()
    left, right = socket.socketpair()
    selector.register(left, 1, "data")
    with pytest.raises(KeyError):
        selector.register(left, 1)
    assert selector.get_key(left).data == "data"
    assert left.fileno() in selector.get_map()
    # asyncio of Python 3.13 asks by what was registered before it removes a reader.
    assert selector.get_map().get(left) == selector.get_key(left)
    right.send(b"x")
    assert [(key.fileobj, events) for key, events in selector.select(0)] == [(left, 1)]
    selector.modify(left, 2)
    assert [events for _, events in selector.select(0)] == [2]
    selector.unregister(left)
    unknown = partial(selector.unregister, left)
    with pytest.raises(KeyError):
        unknown()
    left.close()
    right.close()
    selector.close()
