"""A lazy host: its ports are bound, and the link comes and goes with the clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.supervisor.scene import Scene, client, echo_service, hello, local, scene
from tests.support.chaos import ChaosProxy
from tests.support.waiting import eventually_async
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import WhileDown
from tunnelctl.spec.host import Host
from tunnelctl.state.documents.snapshot import ForwardState, HostState, ProfileState


def lazy_host(scene: Scene, **changes: Any) -> Host:
    return scene.host(lazy=True, **changes)


@asynccontextmanager
async def way_to(scene: Scene) -> AsyncIterator[ChaosProxy]:
    """A proxy before the server, which can count."""
    with ChaosProxy(scene.server.port) as proxy:
        yield proxy


async def test_it_is_up_without_a_link_and_connects_for_its_first_client() -> None:
    async with scene() as s:
        await s.up(s.profile(local(), host=lazy_host(s)))
        assert s.host_status().state is HostState.IDLE
        assert s.forward("web").state is ForwardState.UP
        assert s.states("server") == []
        assert b"Hello" in await hello(s.port("web"))
        assert s.host_status().state is HostState.UP
        assert s.states("") == [ProfileState.STARTING, ProfileState.UP]


async def test_clients_that_come_together_are_served_in_order_over_one_link() -> None:
    async with scene() as s:
        await s.up(s.profile(local(), host=lazy_host(s)))
        port = s.port("web")
        answers = await asyncio.gather(*(hello(port) for _ in range(20)))
        assert all(b"Hello" in answer for answer in answers)
        assert s.states("server").count(HostState.CONNECTING) == 1


async def test_the_link_is_closed_when_nobody_used_it_for_a_while_and_comes_again() -> None:
    async with scene() as s, echo_service() as echo, way_to(s) as way:
        rule = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(rule, host=lazy_host(s, idle_timeout=0.3, port=way.port)))
        port = s.port("echo")
        async with client(port) as one:
            assert await one.echo(b"first") == b"first"
            # As long as a connection is open nobody is idle, however silent it is.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.9):
                    await s.until_told("server", HostState.IDLE)
            assert await one.echo(b"still") == b"still"
        await s.until_host(HostState.IDLE)
        await eventually_async(lambda: not way.connections, "the server is left alone")
        assert s.status().state is ProfileState.UP
        assert s.port("echo") == port
        async with client(port) as another:
            assert await another.echo(b"again") == b"again"
        await s.supervisor.down("dev", 0)


async def test_a_lazy_host_that_is_away_is_tried_while_somebody_wants_it() -> None:
    async with scene() as s:
        await s.server.kill()
        rules = local(while_down=WhileDown(hold=0.3)), local("patient")
        await s.up(s.profile(*rules, host=lazy_host(s, idle_timeout=0.5)))
        with pytest.raises(ConnectionResetError):
            await hello(s.port("web"))
        await s.until_told("server", HostState.BACKOFF)
        at_rest = await s.until_host(HostState.IDLE)
        assert at_rest.last_error is not None
        assert at_rest.last_error.code == "connection-refused"
        await s.server.start()
        assert b"Hello" in await hello(s.port("patient"))
        assert s.host_status().last_error is None


async def test_a_client_that_may_not_wait_wakes_it_for_the_next_one() -> None:
    async with scene() as s:
        rule = local(while_down=WhileDown(hold=0))
        await s.up(s.profile(rule, host=lazy_host(s)))
        with pytest.raises(ConnectionResetError):
            await hello(s.port("web"))
        await s.until_host(HostState.UP)
        assert b"Hello" in await hello(s.port("web"))


async def test_a_forward_that_is_added_later_listens_and_wakes_it() -> None:
    async with scene() as s:
        host = lazy_host(s)
        await s.up(s.profile(local(), host=host))
        await s.up(s.profile(local(), local("more"), host=host))
        assert b"Hello" in await hello(s.port("more"))


async def test_a_host_that_is_lazy_no_more_connects() -> None:
    async with scene() as s:
        await s.up(s.profile(local(), host=lazy_host(s)))
        await s.up(s.profile(local()))
        await s.until_host(HostState.UP)


async def test_a_lazy_host_stops_in_any_state() -> None:
    async with scene() as s:
        await s.up(s.profile(local(), host=lazy_host(s)))
        await s.supervisor.down("dev", 0)
        assert s.status().state is ProfileState.STOPPED
