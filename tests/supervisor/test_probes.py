"""What targets answer through the tunnel, and what comes of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.supervisor.scene import Scene, client, hello, local, remote, scene
from tests.support.here import here
from tests.support.ports import free_port
from tests.support.services import EchoService, Service
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import OnUnhealthy, Probe, ProbeType
from tunnelctl.spec.host import Reconnect
from tunnelctl.state.documents.snapshot import (
    ForwardState,
    ForwardStatus,
    Health,
    HostState,
    ProfileState,
)
from tunnelctl.state.documents.status_events import EventKind
from tunnelctl.view import condition

OFTEN = 0.03  # seconds
TCP = Probe(ProbeType.TCP, interval=OFTEN, timeout=10)


async def until_health(s: Scene, name: str, health: Health) -> ForwardStatus:
    """Wait until the forward's target is in that health."""
    await eventually_async(lambda: s.forward(name).health is health, f"{name} is {health}")
    status = s.forward(name)
    assert status.since is not None
    assert status.health_since is not None
    # It was unknown at first, and so has been what it is for less time than the forward.
    assert (status.health_since >= status.since) or health is Health.UNKNOWN
    return status


def http(path: str = "/", **changes: Any) -> Probe:
    return replace(Probe(ProbeType.HTTP, path=path, interval=OFTEN, timeout=10), **changes)


class LineService(Service):
    """Answers what `answer` gives for the first line of a request."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.asked: list[str] = []
        self._answer = answer
        super().__init__(self._serve_one)

    def _serve_one(self, connection: socket.socket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked and (data := connection.recv(4096)):
            asked += data
        if asked:
            self.asked.append(asked.decode())
            connection.sendall(self._answer(asked.decode().partition("\r\n")[0]).encode())


def to(port: int, name: str = "web", **changes: Any) -> Any:
    """A local forward to 127.0.0.1:`port`, seen from the server."""
    return local(name, target=Endpoint(LOOPBACK, port), **{"probe": TCP, **changes})


# Asking over the link.


async def test_a_target_that_accepts_is_healthy_and_nobody_is_counted() -> None:
    with EchoService() as service:
        async with scene() as s:
            await s.up(s.profile(to(service.port)))
            await until_health(s, "web", Health.HEALTHY)
            await eventually_async(lambda: service.accepted >= 3, "it is asked again")
            forward = s.forward("web")
            assert (forward.connections_total, forward.connections_open) == (0, 0)
            assert (forward.bytes_in, forward.bytes_out) == (0, 0)
            host = s.host_status()
            assert condition.of_forward(forward, host, datetime.now(UTC)).text == "up (healthy)"
            # A connection that only looked is closed.
            await s.supervisor.down("dev", 0)
            await eventually_async(lambda: service.open == 0, "no probe is left open")


async def test_a_target_that_goes_is_told_with_code_and_hint_and_forgiven_when_it_is_back() -> None:
    async with scene() as s:
        port = free_port()
        with EchoService(port):
            await s.up(s.profile(to(port)))
            await until_health(s, "web", Health.HEALTHY)
        forward = await until_health(s, "web", Health.UNHEALTHY)
        assert forward.state is ForwardState.UP
        assert s.status().state is ProfileState.UP
        assert forward.last_error is not None
        assert forward.last_error.code == Code.TARGET_REFUSED
        assert forward.last_error.hint
        async with client(s.port("web")) as one:
            assert await one.is_reset()
        with EchoService(port):
            forward = await until_health(s, "web", Health.HEALTHY)
            assert forward.last_error is None
    told = [(e.state, e.error and e.error.code) for e in s.events if e.kind is EventKind.HEALTH]
    assert told == [("healthy", None), ("unhealthy", "target-refused"), ("healthy", None)]


async def test_openssh_says_why_a_target_does_not_answer(sshd: OpenSSHServer) -> None:
    async with scene() as s:
        host = sshd.host(name="server")
        with EchoService() as service:
            await s.up(s.profile(to(service.port), to(free_port(), "gone"), host=host))
            await until_health(s, "web", Health.HEALTHY)
            gone = await until_health(s, "gone", Health.UNHEALTHY)
            assert gone.last_error is not None
            assert gone.last_error.code == Code.TARGET_REFUSED


async def test_none_sends_nothing() -> None:
    with EchoService() as asked, EchoService() as left_alone:
        async with scene() as s:
            quiet = to(left_alone.port, "quiet", probe=Probe(ProbeType.NONE, interval=OFTEN))
            await s.up(s.profile(to(asked.port), quiet))
            await eventually_async(lambda: asked.accepted >= 10, "the other one is asked")
            assert left_alone.accepted == 0
            assert s.forward("quiet").health is Health.UNKNOWN


async def test_clients_that_get_through_are_answer_enough_where_nobody_asked() -> None:
    with EchoService() as service:
        async with scene() as s:
            await s.up(s.profile(to(service.port, probe=Probe(ProbeType.TCP, unasked=True))))
            async with client(s.port("web")) as one:
                assert await one.echo(b"hello") == b"hello"
                await until_health(s, "web", Health.HEALTHY)
            assert service.accepted == 1


async def test_where_nobody_asked_and_nobody_comes_the_target_is_asked() -> None:
    with EchoService() as service:
        async with scene() as s:
            await s.up(s.profile(to(service.port, probe=Probe(ProbeType.TCP, unasked=True))))
            await until_health(s, "web", Health.HEALTHY)
            await eventually_async(lambda: service.accepted == 1, "it was asked, once")


async def test_without_a_link_health_is_unknown() -> None:
    with EchoService() as service:
        async with scene() as s:
            await s.up(s.profile(to(service.port)))
            await until_health(s, "web", Health.HEALTHY)
            await s.server.kill()
            await s.until_host(HostState.BACKOFF)
            assert s.forward("web").health is Health.UNKNOWN
            await s.server.start()
            await until_health(s, "web", Health.HEALTHY)


async def test_a_lazy_host_is_not_woken_but_asked_while_it_is_up() -> None:
    with EchoService() as asked, EchoService() as behind:
        async with scene() as s:
            await s.up(s.profile(to(asked.port, "other"), name="other"))
            lazy = s.host(lazy=True, idle_timeout=0.5)
            await s.up(s.profile(to(behind.port), host=lazy))
            await eventually_async(lambda: asked.accepted >= 10, "the other one is asked")
            assert s.host_status().state is HostState.IDLE
            assert behind.accepted == 0
            async with client(s.port("web")) as one:
                assert await one.echo(b"hello") == b"hello"
                await until_health(s, "web", Health.HEALTHY)
            await s.until_host(HostState.IDLE)  # probes are not use
            assert s.forward("web").health is Health.UNKNOWN


async def test_the_probe_of_a_running_forward_can_be_changed() -> None:
    with EchoService() as service:
        async with scene() as s:
            quiet = to(service.port, probe=Probe())
            await s.up(s.profile(quiet))
            async with client(s.port("web")) as one:
                await s.supervisor.up(s.profile(replace(quiet, probe=TCP)), here())
                await until_health(s, "web", Health.HEALTHY)
                assert await one.echo(b"still here") == b"still here"
                await s.supervisor.up(s.profile(quiet), here())
                assert s.forward("web").health is Health.UNKNOWN


async def test_a_forward_that_is_removed_is_asked_no_more() -> None:
    with EchoService() as removed, EchoService() as kept:
        async with scene() as s:
            stays = to(kept.port, "stays")
            await s.up(s.profile(to(removed.port), stays))
            await until_health(s, "web", Health.HEALTHY)
            await s.supervisor.up(s.profile(stays), here())
            for _ in range(2):  # one may have been on its way at first
                before, asked = removed.accepted, kept.accepted
                await eventually_async(lambda: kept.accepted >= asked + 10, "the other is asked")  # noqa: B023 - awaited
            assert removed.accepted == before


# Remote forwards: the target here is asked.


async def test_the_local_target_of_a_remote_forward_is_asked() -> None:
    async with scene() as s:
        with EchoService(free_port()) as service:
            await s.up(s.profile(remote("back", free_port(), service.port, probe=TCP)))
            await until_health(s, "back", Health.HEALTHY)
        forward = await until_health(s, "back", Health.UNHEALTHY)
        assert forward.last_error is not None
        assert forward.last_error.code == Code.TARGET_REFUSED
        assert forward.connections_total == 0


# HTTP.


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_http_wants_its_path_and_status(side: str) -> None:
    def answer(line: str) -> str:
        return (
            "HTTP/1.1 204 No Content\r\n\r\n"
            if line == "GET /up HTTP/1.1"
            else "HTTP/1.1 500\r\n\r\n"
        )

    def rule(name: str, port: int, probe: Probe) -> Any:
        if side == "local":
            return to(port, name, probe=probe)
        return remote(name, free_port(), port, probe=probe)

    with LineService(answer) as web:
        async with scene() as s:
            good = rule("good", web.port, http("/up", status=204))
            bad = rule("bad", web.port, http("/down"))
            await s.up(s.profile(good, bad))
            await until_health(s, "good", Health.HEALTHY)
            forward = await until_health(s, "bad", Health.UNHEALTHY)
            assert forward.last_error is not None
            assert "status 500 for GET /down" in forward.last_error.message
            assert forward.last_error.code == Code.TARGET_REFUSED
            assert f"Host: 127.0.0.1:{web.port}\r\n" in web.asked[0]


async def test_http_of_a_target_that_speaks_something_else() -> None:
    with (
        LineService(lambda line: "SSH-2.0-x\r\n") as ssh,
        LineService(lambda line: "") as mute,
    ):
        async with scene() as s:
            await s.up(
                s.profile(to(ssh.port, "ssh", probe=http()), to(mute.port, "mute", probe=http()))
            )
            for name, said in (("ssh", "not HTTP"), ("mute", "without an answer")):
                forward = await until_health(s, name, Health.UNHEALTHY)
                assert forward.last_error is not None
                assert said in forward.last_error.message


async def test_a_target_that_says_nothing_is_unreachable_after_the_timeout() -> None:
    with EchoService() as lively, socket.create_server((LOOPBACK, 0)) as silent:
        async with scene() as s:
            probe = http(timeout=0.2, fall=1)
            mute = to(silent.getsockname()[1], probe=probe)
            await s.up(s.profile(mute, to(lively.port, "other")))
            forward = await until_health(s, "web", Health.UNHEALTHY)
            assert forward.last_error is not None
            assert forward.last_error.code == Code.TARGET_UNREACHABLE
            assert "no answer within 0.2 s" in forward.last_error.message
            assert forward.last_error.hint
            await until_health(s, "other", Health.HEALTHY)


async def test_the_embedded_hello_service_speaks_http() -> None:
    async with scene() as s:
        await s.up(s.profile(local(probe=http())))
        await until_health(s, "web", Health.HEALTHY)
        assert b"Hello" in await hello(s.port("web"))


# on_unhealthy.


async def test_reconnect_makes_another_link_once_and_then_has_patience() -> None:
    policy = Reconnect(min=0.01, max=300)
    with EchoService() as other:
        async with scene() as s:
            port = free_port()
            dead = to(port, on_unhealthy=OnUnhealthy.RECONNECT)
            await s.up(s.profile(dead, to(other.port, "other"), host=s.host(reconnect=policy)))
            await s.until_told("server", "backoff")
            why = next(e for e in s.events if e.state == "backoff").error
            assert why is not None
            assert why.code == Code.TARGET_REFUSED
            assert "forward web is unhealthy" in why.message
            await s.until_told("server", "up", times=2)
            await s.until_told("web", "unhealthy", times=2)
            asked = other.accepted
            await eventually_async(lambda: other.accepted >= asked + 10, "time passes")
            assert s.host_status().reconnects == 1
            with EchoService(port):
                await until_health(s, "web", Health.HEALTHY)
            await s.until_told(
                "server", "backoff", times=2
            )  # it was well: the next time is a first


async def test_report_leaves_the_link_alone() -> None:
    async with scene() as s:
        await s.up(s.profile(to(free_port())))
        await until_health(s, "web", Health.UNHEALTHY)
        assert s.host_status().state is HostState.UP
        assert s.states("server").count("up") == 1
