"""Losing the link and coming back: the same ports, and the clients that came in between."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import socket
from datetime import datetime

import pytest

from tests.supervisor.scene import (
    LATE,
    SOON,
    client,
    echo_service,
    hello,
    local,
    remote,
    scene,
    taken_port,
)
from tests.support.chaos import ChaosProxy
from tests.support.here import here
from tests.support.patient import Patient
from tests.support.ports import free_port
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import WhileDown
from tunnelctl.spec.host import Host, Reconnect
from tunnelctl.state.documents.snapshot import ForwardState, HostState, ProfileState


async def test_a_server_that_comes_back_is_used_on_the_same_port() -> None:
    async with scene() as s:
        await s.up(s.profile(local()))
        port = s.port("web")
        await s.server.kill()
        await s.until_told("server", "backoff")
        assert s.status().state is ProfileState.DEGRADED
        # A client that comes in between waits, and is served.
        early = asyncio.create_task(hello(port))
        await eventually_async(lambda: s.forward("web").connections_open == 1, "it waits")
        await s.server.start()
        assert b"Hello, World!" in await early
        await s.until(ProfileState.UP)
        assert s.port("web") == port
        host = s.host_status()
        assert (host.reconnects, host.attempts, host.last_error) == (1, 0, None)


async def test_a_lost_link_resets_what_it_carried() -> None:
    async with scene() as s, echo_service() as echo:
        await s.up(s.profile(local("echo", target=Endpoint(LOOPBACK, echo))))
        async with client(s.port("echo")) as one:
            await one.echo(b"hello")
            await s.server.kill()
            assert await one.is_reset()
        await s.server.start()
        await s.until(ProfileState.UP)


async def test_remote_forwards_are_asked_for_again() -> None:
    async with scene() as s, echo_service() as echo:
        port = free_port()
        await s.up(s.profile(remote("back", port, echo)))
        await s.server.kill()
        await s.until_host(HostState.BACKOFF)
        assert s.forward("back").state is ForwardState.PENDING
        await s.server.start()
        await s.until(ProfileState.UP)
        async with client(port) as one:
            assert await one.echo(b"again") == b"again"


async def test_why_it_is_down_and_when_it_tries_again() -> None:
    async with scene(random=Patient()) as s:
        host = s.host(reconnect=Reconnect(min=40, max=60))
        await s.up(s.profile(local(), host=host))
        await s.server.kill()
        down = await s.until_host(HostState.BACKOFF)
        assert down.attempts == 1
        assert down.next_retry_at is not None
        assert down.since is not None
        assert down.next_retry_at > down.since
        assert down.last_error is not None
        assert down.last_error.code == Code.SESSION_LOST
        assert down.address is None


async def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    async with scene() as s:
        await s.server.kill()
        await s.supervisor.up(s.profile(local()), here())
        await s.until_told("server", "backoff", times=3)
        assert s.status().state is ProfileState.STARTING
        waiting = await s.until_host(HostState.BACKOFF)
        assert waiting.attempts >= 3
        assert waiting.last_error is not None
        assert waiting.last_error.code == Code.CONNECTION_REFUSED
        assert s.forward("web").state is ForwardState.PENDING
        await s.server.start()
        await s.until(ProfileState.UP)
        assert s.host_status().reconnects == 0


async def test_giving_up_where_the_profile_says_so() -> None:
    async with scene() as s:
        await s.server.kill()
        host = s.host(reconnect=Reconnect(min=0.05, max=0.1, give_up_after=0.3))
        await s.supervisor.up(s.profile(local(), host=host), here())
        await s.until(ProfileState.FAILED)
        await s.server.start()
        await s.supervisor.restart("dev")
        await s.until(ProfileState.UP)


def _seconds(earlier: str, later: str) -> float:
    """Between two times of RFC 3339."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


async def test_a_client_that_waits_has_the_server_tried_about_once_a_second(
    sshd: OpenSSHServer,
) -> None:
    """However long the wait would be: here ten minutes."""
    async with scene(random=Patient()) as s, echo_service() as echo:
        host = sshd.host(name="server", reconnect=LATE)
        await s.up(s.profile(local("echo", target=Endpoint(LOOPBACK, echo)), host=host))
        sshd.kill()
        await s.until_told("server", "backoff")
        async with client(s.port("echo")) as early:
            await s.until_told("server", "backoff", times=4)
            sshd.start()
            assert await early.echo(b"waited") == b"waited"
        told = [event for event in s.events if event.name == "server"]
        pauses = [
            _seconds(before.at, after.at)
            for before, after in itertools.pairwise(told)
            if (before.state, after.state) == ("backoff", "connecting")
        ]
        assert len(pauses) >= 4
        assert min(pauses) > 0.95  # wall-clock time, which may be stepped a little


async def test_nobody_hurries_for_a_client_that_was_turned_away() -> None:
    async with scene(random=Patient()) as s:
        refuse = WhileDown(hold=0)
        rule = dataclasses.replace(local(), while_down=refuse)
        await s.up(s.profile(rule, host=s.host(reconnect=LATE)))
        await s.server.kill()
        await s.until_host(HostState.BACKOFF)
        with pytest.raises(ConnectionResetError):
            await hello(s.port("web"))
        host = s.host_status()
        assert host.since is not None
        assert host.next_retry_at is not None
        assert _seconds(host.since, host.next_retry_at) > 500


async def test_openssh_killed_and_back(sshd: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        host = sshd.host(name="server", reconnect=SOON)
        remote_port = free_port()
        to_echo = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(to_echo, remote("back", remote_port, echo), host=host))
        port = s.port("echo")
        sshd.kill()
        await s.until_told("server", "backoff")
        async with client(port) as early:
            sshd.start()
            assert await early.echo(b"in between") == b"in between"
        await s.until(ProfileState.UP)
        async with client(remote_port) as one:
            assert await one.echo(b"and back") == b"and back"
        assert s.port("echo") == port


async def test_a_silent_server_is_noticed() -> None:
    async with scene() as s:
        with ChaosProxy(s.server.port) as proxy:
            host = s.host(port=proxy.port, server_alive_interval=0.2, server_alive_count_max=2)
            await s.up(s.profile(local(), host=host))
            proxy.stall()
            await s.until_told("server", "backoff")
            why = next(e for e in s.events if e.state == "backoff").error
            assert why is not None
            assert why.code == Code.PEER_SILENT
            proxy.flow()
            await s.until(ProfileState.UP)
            await s.supervisor.down("dev", 0)


async def test_restart_connects_anew_on_the_same_port() -> None:
    async with scene() as s:
        await s.up(s.profile(local()))
        port = s.port("web")
        await s.supervisor.restart("dev")
        assert s.host_status().state is HostState.CONNECTING
        await s.until(ProfileState.UP)
        assert s.port("web") == port
        assert s.host_status().reconnects == 1
        assert b"Hello" in await hello(port)
        assert "backoff" not in s.states("server")


async def test_restart_does_not_wait_for_the_backoff() -> None:
    async with scene(random=Patient()) as s:
        await s.up(s.profile(local(), host=s.host(reconnect=LATE)))
        await s.server.kill()
        await s.until_host(HostState.BACKOFF)
        await s.server.start()
        await s.supervisor.restart("dev")
        await s.until(ProfileState.UP)


async def test_restart_drops_an_attempt_that_hangs() -> None:
    async with scene() as s:
        with socket.create_server((LOOPBACK, 0)) as mute:  # accepts, and never says a word
            port = mute.getsockname()[1]
            await s.supervisor.up(s.profile(local(), host=s.host(port=port)), here())
            mute.settimeout(20)
            for _ in range(2):
                peer, _ = await asyncio.to_thread(mute.accept)
                await s.supervisor.restart("dev")
                with peer:
                    peer.settimeout(20)
                    # Our banner, then the end: the socket was given back.
                    while await asyncio.to_thread(peer.recv, 1024):
                        pass
            await s.supervisor.down("dev", 0)


async def test_a_forward_refused_long_ago_is_tried_at_once_on_a_new_link() -> None:
    async with scene() as s, echo_service() as echo, taken_port() as (port, free):
        await s.supervisor.up(s.profile(remote("back", port, echo)), here())
        await s.until_forward("back", ForwardState.FAILED)
        free()
        await s.supervisor.restart("dev")
        await s.until(ProfileState.UP)


async def test_an_unexpected_error_is_logged_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = 0

    async def broken(host: Host, reactor: Reactor, **_: object) -> None:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError("a defect")

    async with scene(connect=broken) as s:
        await s.supervisor.up(s.profile(local()), here())
        await s.until_told("server", "backoff", times=2)
        assert calls >= 2
        error = s.host_status().last_error
        assert error is not None
        assert error.code == Code.INTERNAL
        assert "a defect" in error.message
        assert any(r.exc_info and r.exc_info[0] is ZeroDivisionError for r in caplog.records)


async def test_nobody_waits_for_a_host_that_will_not_come_back_by_itself() -> None:
    async with scene() as s:
        port = free_port()
        stranger = s.host(host_key=("SHA256:" + "A" * 43,))
        profile = s.profile(local(port=port), host=stranger)
        await s.supervisor.up(profile, here())
        await s.until_host(HostState.FAILED)
        # The listener stays: the next `up` may mend it. A client of today is told at once.
        async with asyncio.timeout(profile.forwards[0].while_down.hold / 2):
            with pytest.raises(ConnectionResetError):
                await hello(port)
