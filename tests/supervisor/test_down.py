"""Taking profiles down, and closing it all."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from tests.supervisor.scene import (
    LATE,
    client,
    echo_service,
    hello,
    local,
    remote,
    scene,
)
from tests.support.here import here
from tests.support.ports import free_port
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.host import Host
from tunnelctl.state.documents.snapshot import ForwardState, HostState, ProfileState, Wanted


async def test_down_closes_and_stays_listed() -> None:
    async with scene() as s:
        await s.up(s.profile(local()))
        port, before = s.port("web"), s.status()
        await s.supervisor.down("dev", 0)
        status = s.status()
        assert before.wanted_since is not None
        assert before.since is not None
        assert status.wanted_since is not None
        assert status.since is not None
        # Wanted up, then up; unwanted, then stopped.
        moments = [before.wanted_since, before.since, status.wanted_since, status.since]
        assert moments == sorted(moments)
        assert before.wanted_since != status.wanted_since
        assert (status.wanted, status.state) == (Wanted.DOWN, ProfileState.STOPPED)
        assert s.host_status().state is HostState.STOPPED
        assert s.forward("web").state is ForwardState.STOPPED
        with pytest.raises(ConnectionRefusedError):
            await hello(port)
        assert s.states("")[-2:] == ["stopping", "stopped"]
        assert s.states("server")[-2:] == ["stopping", "stopped"]
        assert s.states("web")[-1:] == ["stopped"]
        await s.supervisor.down("dev", 0)  # again: nothing
        assert s.status() == status


async def test_a_profile_that_is_down_can_come_up_again() -> None:
    async with scene() as s:
        profile = s.profile(local(port=free_port()))
        await s.up(profile)
        await s.supervisor.down("dev", 0)
        await s.up(profile)
        assert b"Hello" in await hello(s.port("web"))
        assert [p.name for p in s.supervisor.status()] == ["dev"]


async def test_down_lets_connections_end() -> None:
    async with scene() as s, echo_service() as echo:
        await s.up(s.profile(local("echo", target=Endpoint(LOOPBACK, echo))))
        port = s.port("echo")
        async with client(port) as one:
            await one.echo(b"before")
            going = asyncio.ensure_future(s.supervisor.down("dev", 20))
            await s.until(ProfileState.STOPPING)
            assert await one.echo(b"while it drains") == b"while it drains"
            with pytest.raises(ConnectionRefusedError):
                await hello(port)
        async with asyncio.timeout(10):  # well before the drain is over: nobody is left
            await going


async def test_connections_that_do_not_end_are_reset() -> None:
    async with scene() as s, echo_service() as echo:
        await s.up(s.profile(local("echo", target=Endpoint(LOOPBACK, echo))))
        async with client(s.port("echo")) as one:
            await one.echo(b"before")
            await s.supervisor.down("dev", 0.1)
            assert await one.is_reset()


async def test_a_second_down_is_not_kept_waiting_by_the_first() -> None:
    async with scene() as s, echo_service() as echo:
        await s.up(s.profile(local("echo", target=Endpoint(LOOPBACK, echo))))
        async with client(s.port("echo")) as one:
            await one.echo(b"before")
            patient = asyncio.ensure_future(s.supervisor.down("dev", 300))
            await s.until(ProfileState.STOPPING)
            await s.supervisor.down("dev", 0)
            assert await one.is_reset()
        await patient


async def test_close_does_not_wait_for_a_drain() -> None:
    async with scene() as s, echo_service() as echo:
        await s.up(s.profile(local("echo", target=Endpoint(LOOPBACK, echo))))
        async with client(s.port("echo")) as one:
            await one.echo(b"before")
            patient = asyncio.ensure_future(s.supervisor.down("dev", 300))
            await s.until(ProfileState.STOPPING)
            await s.supervisor.close(300)
            assert await one.is_reset()
        await patient


async def test_down_takes_the_remote_listener_away() -> None:
    async with scene() as s, echo_service() as echo:
        await s.up(s.profile(remote("back", 0, echo)))
        port = s.port("back")
        await s.supervisor.down("dev", 0)
        with pytest.raises(ConnectionRefusedError):
            await hello(port)


async def test_down_interrupts_a_backoff() -> None:
    async with scene() as s:
        await s.server.kill()
        await s.supervisor.up(s.profile(local(), host=s.host(reconnect=LATE)), here())
        await s.until_host(HostState.BACKOFF)
        await s.supervisor.down("dev", 0)
        assert s.host_status().next_retry_at is None


async def test_down_interrupts_an_attempt() -> None:
    async with scene() as s:
        with socket.create_server((LOOPBACK, 0)) as mute:
            port = mute.getsockname()[1]
            await s.supervisor.up(s.profile(local(), host=s.host(port=port)), here())
            await s.until_host(HostState.CONNECTING)
            await s.supervisor.down("dev", 0)
            assert s.status().state is ProfileState.STOPPED


async def test_down_takes_a_failed_profile_down() -> None:
    async with scene() as s:
        host = s.host(host_key=("SHA256:" + "A" * 43,))
        await s.supervisor.up(s.profile(local(), host=host), here())
        await s.until(ProfileState.FAILED)
        await s.supervisor.down("dev", 0)
        assert s.status().state is ProfileState.STOPPED


async def test_restart_of_a_profile_that_is_down_is_refused() -> None:
    async with scene() as s:
        await s.up(s.profile(local()))
        await s.supervisor.down("dev", 0)
        with pytest.raises(Failure) as failure:
            await s.supervisor.restart("dev")
        assert failure.value.code is Code.NOT_UP
        assert failure.value.hint == "tunnelctl up dev"


async def test_up_while_it_goes_down_comes_after() -> None:
    async with scene() as s, echo_service() as echo:
        profile = s.profile(local("echo", target=Endpoint(LOOPBACK, echo), port=free_port()))
        await s.up(profile)
        async with client(s.port("echo")) as one:
            await one.echo(b"held")
            going = asyncio.ensure_future(s.supervisor.down("dev", 20))
            await s.until(ProfileState.STOPPING)
            coming = asyncio.ensure_future(s.supervisor.up(profile, here()))
        await going
        await coming
        await s.until(ProfileState.UP)


async def test_a_down_whose_caller_left_is_finished() -> None:
    async with scene() as s, echo_service() as echo:
        profile = s.profile(local("echo", target=Endpoint(LOOPBACK, echo), port=free_port()))
        await s.up(profile)
        async with client(s.port("echo")) as one:
            await one.echo(b"held")
            going = asyncio.ensure_future(s.supervisor.down("dev", 20))
            await s.until(ProfileState.STOPPING)
            going.cancel()
            coming = asyncio.ensure_future(s.supervisor.up(profile, here()))
        await coming
        await s.until(ProfileState.UP)
        assert s.states("").count("stopped") == 1
        assert s.states("echo") == ["up", "stopped", "up"]


async def test_close_takes_everything_down_once() -> None:
    async with scene() as s:
        subscription = s.supervisor.subscribe()
        for name in ("a", "b"):
            await s.up(s.profile(local(), name=name))
        await asyncio.gather(s.supervisor.close(10), s.supervisor.close(10))
        assert {p.state for p in s.supervisor.status()} == {ProfileState.STOPPED}
        stopped = [e.profile async for e in subscription if e.name == "" and e.state == "stopping"]
        assert stopped == ["b", "a"]  # the last one first
        with pytest.raises(Failure) as failure:
            await s.supervisor.up(s.profile(local()), here())
        assert failure.value.code is Code.DAEMON_NOT_RUNNING


async def test_close_names_what_is_stuck(caplog: pytest.LogCaptureFixture) -> None:
    async def stubborn(host: Host, reactor: Reactor, **_: object) -> None:
        for _time in range(2):  # the cancellation that `down` asks for is not heard
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
        raise asyncio.CancelledError

    cancelled = asyncio.Event()
    async with scene(connect=stubborn) as s:
        await s.supervisor.up(s.profile(local()), here())
        await eventually_async(lambda: "connecting" in s.states("server"), "it connects")
        await s.supervisor.close(0.2)
        assert cancelled.is_set()
        errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
        assert any("dev/server: connect, try 1" in e and "stuck" in e for e in errors)


async def test_the_last_of_many_orders_counts() -> None:
    """Each has its place in the queue by when it came, also an impatient `down`."""
    async with scene() as s, echo_service() as echo:
        profile = s.profile(local("echo", target=Endpoint(LOOPBACK, echo)))
        await s.up(profile)
        async with client(s.port("echo")) as one:
            await one.echo(b"held")
            orders = [asyncio.ensure_future(s.supervisor.down("dev", 300))]
            await s.until(ProfileState.STOPPING)
            orders.append(asyncio.ensure_future(s.supervisor.down("dev", 300)))
            await asyncio.sleep(0)
            orders.append(asyncio.ensure_future(s.supervisor.up(profile, here())))
        await asyncio.gather(*orders)
        await s.until(ProfileState.UP)
        async with client(s.port("echo")) as one:
            await one.echo(b"held")
            orders = [asyncio.ensure_future(s.supervisor.down("dev", 300))]
            await s.until(ProfileState.STOPPING)
            orders.append(asyncio.ensure_future(s.supervisor.up(profile, here())))
            orders.append(asyncio.ensure_future(s.supervisor.down("dev", 300)))
        await asyncio.gather(*orders)
        assert s.status().state is ProfileState.STOPPED


async def test_a_down_right_after_the_first_up() -> None:
    async with scene() as s:
        coming = s.supervisor.up(s.profile(local()), here())
        going = s.supervisor.down("dev", 0)
        await coming
        await going
        assert s.status().state is ProfileState.STOPPED
