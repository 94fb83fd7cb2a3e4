"""Rows of docs/faults.md as a whole tunnel meets them, with the system's sshd and time bounds."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.supervisor.scene import (
    SOON,
    client,
    echo_service,
    local,
    remote,
    scene,
)
from tests.support.here import here
from tests.support.hostile import Peer, ScriptedServer
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import BUSY, eventually_async
from tunnelctl import clock
from tunnelctl.errors import Code
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.host import Host
from tunnelctl.state.documents.snapshot import HostState, ProfileState
from tunnelctl.wire.messages import Message

# A server that such a machine leaves waiting for a second or two is not taken for a silent one.
_INTERVAL, _COUNT = 1.0, 2
_BACK = SOON.max + BUSY
_NOTICED = _INTERVAL * (_COUNT + 1) + BUSY


def watchful(sshd: OpenSSHServer, **changes: float) -> Host:
    return sshd.host(
        reconnect=SOON,
        server_alive_interval=_INTERVAL,
        server_alive_count_max=_COUNT,
        **changes,
    )


async def test_a_killed_server_resets_its_connections_within_a_second(sshd: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        rule = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(rule, host=sshd.host(reconnect=SOON)))
        port = s.port("echo")
        async with client(port) as one:
            await one.echo(b"hello")
            sshd.kill()
            since = time.monotonic()
            assert await one.is_reset()
            assert time.monotonic() - since < 1 + BUSY
        await s.until_host(HostState.BACKOFF)
        sshd.start()
        since = time.monotonic()
        await s.until(ProfileState.UP)
        assert time.monotonic() - since < _BACK
        assert s.port("echo") == port


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "uploading"])
async def test_a_stopped_server_is_noticed_and_its_late_answers_change_nothing(
    sshd: OpenSSHServer, busy: bool
) -> None:
    async with scene() as s, echo_service() as echo:
        rule = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(rule, host=watchful(sshd, connect_timeout=3.0)))
        async with client(s.port("echo")) as one:
            await one.echo(b"hello")
            if busy:
                one.send(bytes(50_000_000))
            sshd.pause()
            since = time.monotonic()
            await s.until_told("server", "backoff")
            assert time.monotonic() - since < _NOTICED
            assert await one.is_reset()
        # What is tried meanwhile meets a server that takes connections and never greets.
        await eventually_async(
            lambda: any(e.error and e.error.code == Code.TIMED_OUT for e in s.events), "it hangs"
        )
        sshd.resume()
        await s.until(ProfileState.UP)
        async with client(s.port("echo")) as one:
            assert await one.echo(b"again") == b"again"
        assert s.host_status().reconnects == 1


async def test_a_server_that_comes_back_with_another_key_is_an_alarm_and_no_storm(
    sshd: OpenSSHServer,
) -> None:
    async with scene() as s, echo_service() as echo:
        rule = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(rule, host=sshd.host(reconnect=SOON)))
        sshd.rotate_host_key()
        failed = await s.until_host(HostState.FAILED)
        assert failed.last_error is not None
        assert failed.last_error.code == Code.HOST_KEY_CHANGED
        assert failed.next_retry_at is None
        tries = s.states("server").count("connecting")
        s.supervisor.hurry("network changed")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SOON.max * 5):
                await s.until_told("server", "connecting", times=tries + 1)
        assert "Accepted" not in sshd.log.rpartition("Server listening")[2]


async def test_a_port_that_the_server_chooses_anew_is_published(sshd: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        await s.up(s.profile(remote("back", 0, echo), host=sshd.host(reconnect=SOON)))
        for _ in range(2):
            await s.supervisor.restart("dev")
            await s.until(ProfileState.UP)
            async with client(s.port("back")) as one:
                assert await one.echo(b"here") == b"here"


async def test_a_server_that_falls_silent_when_a_port_is_asked_for() -> None:
    """It let us in, and never says whether it listens: the forward is not `up`, nor for ever."""
    over = threading.Event()

    def script(peer: Peer) -> None:
        while peer.expect(Message.GLOBAL_REQUEST).text() != "tcpip-forward":
            pass  # the first signs of life that it is asked for
        over.wait(20)

    with ScriptedServer(script) as server:
        async with scene() as s:
            host = server.host_with(
                name="server",
                reconnect=SOON,
                server_alive_interval=_INTERVAL,
                server_alive_count_max=_COUNT,
            )
            since = time.monotonic()
            await s.supervisor.up(s.profile(remote("back", 0, 9), host=host), here())
            await s.until_told("server", "backoff")
            assert time.monotonic() - since < _NOTICED
            assert "up" not in s.states("back")
            assert "up" not in s.states("")
            error = next(e for e in s.events if e.state == "backoff").error
            assert error is not None
            assert error.code == Code.PEER_SILENT
        over.set()


async def test_without_a_thread_to_log_in_with_it_is_tried_again(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root has no RLIMIT_NPROC: so it is threading that says what pthread_create(3) would."""
    start = threading.Thread.start

    def none_left(thread: threading.Thread) -> None:
        if thread.name.startswith("client-"):
            return start(thread)
        raise RuntimeError("can't start new thread")

    async with scene() as s, echo_service() as echo:
        rule = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(rule, host=sshd.host(reconnect=SOON)))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", none_left)
            sshd.kill_sessions()
            await s.until_told("server", "backoff", times=2)
            error = s.host_status().last_error
            assert error is not None
            assert "cannot start a thread" in error.message
        since = time.monotonic()
        await s.until(ProfileState.UP)
        assert time.monotonic() - since < _BACK
        async with client(s.port("echo")) as one:
            assert await one.echo(b"again") == b"again"


@pytest.mark.parametrize("jump", [timedelta(days=365), -timedelta(days=365), timedelta(hours=-1)])
async def test_a_clock_that_jumps_changes_no_timer(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    async with scene() as s, echo_service() as echo:
        rule = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(rule, host=watchful(sshd)))
        monkeypatch.setattr(clock, "wall", lambda: datetime.now(UTC) + jump)
        sshd.kill_sessions()
        await s.until_told("server", "backoff")
        since = time.monotonic()
        await s.until(ProfileState.UP)
        assert time.monotonic() - since < _BACK
        async with client(s.port("echo")) as one:
            assert await one.echo(b"on time") == b"on time"
        told = s.host_status().since
        assert told is not None
        assert abs(datetime.fromisoformat(told) - (datetime.now(UTC) + jump)) < timedelta(minutes=1)
