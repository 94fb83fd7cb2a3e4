"""The world changed: whoever waits tries now, and a dead link is found out within seconds."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.supervisor.scene import LATE, hello, local, scene
from tests.support.chaos import ChaosProxy
from tests.support.here import here
from tests.support.patient import Patient
from tests.support.processes import command_line, descendants
from tests.support.programs import require
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.host import Host
from tunnelctl.state.documents.snapshot import HostState, ProfileState


async def test_a_hurry_ends_the_backoff() -> None:
    async with scene(random=Patient()) as s:
        await s.up(s.profile(local(), host=s.host(reconnect=LATE)))
        await s.server.kill()
        await s.until_host(HostState.BACKOFF)
        await s.server.start()
        s.supervisor.hurry("network changed")
        await s.until(ProfileState.UP)


async def test_a_round_that_is_hurried_is_followed_by_another_at_once() -> None:
    """What fails now was begun before the network was back."""
    tries = [asyncio.get_running_loop().create_future() for _ in range(2)]
    begun = iter(tries)

    async def connect(host: Host, reactor: Reactor, **_: object) -> None:
        next(begun).set_result(None)
        await failing.wait()
        raise Failure(Code.TIMED_OUT, "no answer")

    failing = asyncio.Event()
    async with scene(connect=connect, random=Patient()) as s:
        await s.supervisor.up(s.profile(local(), host=s.host(reconnect=LATE)), here())
        await tries[0]
        s.supervisor.hurry("network changed")
        failing.set()
        async with asyncio.timeout(20):  # of 600 s
            await tries[1]
        await s.until_host(HostState.BACKOFF)  # that one was not hurried


def _programs(of: Path) -> list[int]:
    return [pid for pid in descendants(os.getpid()) if str(of) in command_line(pid)]


@pytest.mark.parametrize("is_hop", [False, True], ids=["host", "hop"])
async def test_a_program_that_waits_for_a_network_that_is_gone_is_started_anew(
    sshd: OpenSSHServer, tmp_path: Path, is_hop: bool
) -> None:
    """`nc` into nothing says nothing for minutes; it does not see the network come back."""
    require("socat")
    is_back, waits = tmp_path / "is-back", tmp_path / "waits"
    waiting = f"{{ touch {waits}; sleep 600; exit 1; }}"
    script = f"test -e {is_back} || {waiting}; exec socat STDIO TCP:%h:%p"
    behind = {"proxy_command": ("sh", "-c", script), "connect_timeout": 0.5, "reconnect": LATE}
    hop = sshd.host(name="server", **behind)
    host = sshd.host(name="server", proxy_jump=(hop,), reconnect=LATE) if is_hop else hop
    async with scene(random=Patient()) as s:
        await s.supervisor.up(s.profile(local(), host=host), here())
        await eventually_async(waits.exists, "it waits")
        first = _programs(is_back)
        is_back.touch()

        def has_another_one() -> bool:
            # Until it has been silent for longer than connect_timeout it is left alone.
            s.supervisor.hurry("network changed")
            return not set(first) & set(_programs(is_back))

        await eventually_async(has_another_one, "it was ended")
        await s.until(ProfileState.UP)
        assert s.states("server").count("backoff") == 1


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
