"""The world changed: whoever waits tries now, and a dead link is found out within seconds."""

from __future__ import annotations

import asyncio
from random import Random

from tests.supervisor.scene import LATE, hello, local, scene
from tests.support.chaos import ChaosProxy
from tests.support.here import here
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.host import Host
from tunnelctl.state.snapshot import HostState, ProfileState


class Patient(Random):
    """Always waits the whole backoff."""

    def random(self) -> float:
        return 0.999


async def test_a_hurry_ends_the_backoff() -> None:
    async with scene(random=Patient()) as s:
        await s.up(s.profile(local(), host=s.host(reconnect=LATE)))
        await s.server.kill()
        await s.until_host(HostState.BACKOFF)
        await s.server.start()
        s.supervisor.hurry("network changed")
        await s.until(ProfileState.UP)


async def test_a_hurry_does_not_disturb_a_link_that_lives() -> None:
    async with scene() as s:
        await s.up(s.profile(local()))
        before = s.host_status().since
        for _ in range(100):
            s.supervisor.hurry("network changed")
        assert b"Hello" in await hello(s.port("web"))
        assert s.host_status().since == before
        assert s.host_status().reconnects == 0


async def test_a_dead_link_is_noticed_within_seconds_though_keepalives_are_rare() -> None:
    async with scene() as s:
        with ChaosProxy(s.server.port) as proxy:
            await s.up(s.profile(local(), host=s.host(port=proxy.port, server_alive_interval=600)))
            proxy.stall()
            asked_at = asyncio.get_running_loop().time()
            s.supervisor.hurry("resumed")
            await s.until_told("server", "backoff")
            assert asyncio.get_running_loop().time() - asked_at < 12  # of 600 s
            why = next(e for e in s.events if e.state == "backoff").error
            assert why is not None
            assert why.code == Code.PEER_SILENT
            proxy.flow()
            await s.until(ProfileState.UP)
            await s.supervisor.down("dev", 0)


async def test_a_server_that_asked_to_be_left_alone_is_not_hurried() -> None:
    tries = 0

    async def connect(host: Host, reactor: Reactor, **_: object) -> None:
        nonlocal tries
        tries += 1
        raise Failure(Code.HANDSHAKE_FAILED, "not allowed at this time", retry_after=60.0)

    async with scene(connect=connect) as s:
        await s.supervisor.up(s.profile(local()), here())
        await s.until_host(HostState.BACKOFF)
        for _ in range(10):
            s.supervisor.hurry("network changed")
        await eventually_async(lambda: s.host_status().state is HostState.BACKOFF, "it waits")
        assert tries == 1
