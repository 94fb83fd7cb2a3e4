"""Readiness, on each kind of loop: a listener is told of clients for as long as they wait."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tunnelctl import clock
from tunnelctl.net.reactor import READABLE, Reactor
from tunnelctl.net.selector import new_event_loop

_CLIENTS = 10
_LATE = 20.0  # seconds


class _OneATime:
    """Takes one client each time it is told."""

    def __init__(self, reactor: Reactor, listener: socket.socket) -> None:
        self.told = 0
        self.clients: list[socket.socket] = []
        self.has_all = asyncio.Event()
        self._reactor = reactor
        self._listener = listener

    def ready(self, events: int) -> None:
        assert events & READABLE
        self.told += 1
        self.clients.append(self._listener.accept()[0])
        self._reactor.expect_readable(self._listener.fileno())
        if len(self.clients) == _CLIENTS:
            self.has_all.set()


LOOPS = pytest.mark.parametrize(
    ("new_loop", "use_epoll"),
    [(new_event_loop, None), (asyncio.new_event_loop, True), (asyncio.new_event_loop, False)],
    ids=["shared epoll", "nested epoll", "no epoll"],
)


@LOOPS
def test_a_listener_that_takes_one_client_a_time_misses_none(
    new_loop: Callable[[], asyncio.AbstractEventLoop], use_epoll: bool | None
) -> None:
    async def work() -> None:
        reactor = Reactor(asyncio.get_running_loop(), use_epoll=use_epoll)
        with ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.setblocking(False)
            door = _OneATime(reactor, listener)
            for _ in range(_CLIENTS):
                stack.enter_context(socket.create_connection(listener.getsockname()))
            reactor.register_listener(listener.fileno(), door)
            async with asyncio.timeout(_LATE):
                await door.has_all.wait()
            for client in door.clients:
                stack.enter_context(client)
            reactor.unregister(listener.fileno())
            reactor.close()
        assert door.told == _CLIENTS

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(work())


@LOOPS
def test_what_is_overdue_comes_before_what_became_ready(
    new_loop: Callable[[], asyncio.AbstractEventLoop], use_epoll: bool | None
) -> None:
    """A process that was stopped finds its deadline before the bytes that came meanwhile."""

    async def work() -> list[str]:
        reactor = Reactor(asyncio.get_running_loop(), use_epoll=use_epoll)
        order: list[str] = []
        done = asyncio.Event()

        class Ready:
            def ready(self, events: int) -> None:
                order.append("ready")
                done.set()

        with ExitStack() as stack:
            one, other = (stack.enter_context(sock) for sock in socket.socketpair())
            one.setblocking(False)
            reactor.limit(lambda: order.append("overdue"), clock.boottime())
            reactor.register(one.fileno(), Ready())
            other.send(b"late")
            async with asyncio.timeout(_LATE):
                await done.wait()
            reactor.unregister(one.fileno())
            reactor.close()
        return order

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(work())[:2] == ["overdue", "ready"]
