"""Probes that are programs: what they are told, what their end means, and that none is left."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.supervisor.scene import client, local, remote, scene
from tests.supervisor.test_probes import TCP, until_health
from tests.support.ports import free_port
from tests.support.processes import is_running
from tests.support.programs import require
from tests.support.services import EchoService
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Probe, ProbeType
from tunnelctl.state.documents.snapshot import Health, HostState


def shell(script: str, **changes: Any) -> Probe:
    """A probe that is a shell script."""
    command = ("/bin/sh", "-c", script)
    return replace(Probe(ProbeType.COMMAND, interval=0.03, timeout=20, command=command), **changes)


async def test_it_is_told_where_clients_connect_and_its_status_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("TUNNELCTL_")]:
        monkeypatch.delenv(name)  # CI's words to this suite
    said = tmp_path / "said"
    script = f'env | grep TUNNELCTL_ | sort >"{said}.new"; mv "{said}.new" "{said}"'
    async with scene() as s:
        await s.up(s.profile(local(probe=shell(script))))
        await until_health(s, "web", Health.HEALTHY)
        assert said.read_text().splitlines() == [
            f"TUNNELCTL_ADDRESS=127.0.0.1:{s.port('web')}",
            "TUNNELCTL_FORWARD=web",
            "TUNNELCTL_HOST=127.0.0.1",
            f"TUNNELCTL_PORT={s.port('web')}",
            "TUNNELCTL_PROFILE=dev",
        ]


async def test_of_a_remote_forward_it_is_told_the_target(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with EchoService() as service:
        async with scene() as s:
            script = f'echo "$TUNNELCTL_ADDRESS" >"{said}.new"; mv "{said}.new" "{said}"'
            probe = shell(script)
            await s.up(s.profile(remote("back", free_port(), service.port, probe=probe)))
            await until_health(s, "back", Health.HEALTHY)
            assert said.read_text() == f"127.0.0.1:{service.port}\n"


async def test_it_connects_through_the_forward() -> None:
    require("socat")
    with EchoService() as service:
        async with scene() as s:
            ask = 'printf "x\\n" | /usr/bin/socat -T 10 - TCP:"$TUNNELCTL_ADDRESS" | grep x'
            rule = local("echo", target=Endpoint(LOOPBACK, service.port), probe=shell(ask))
            await s.up(s.profile(rule))
            await until_health(s, "echo", Health.HEALTHY)
            assert s.forward("echo").connections_total >= 1


async def test_how_it_failed_is_said() -> None:
    async with scene() as s:
        script = "echo first >&2; echo 'the schema is\ttoo old' >&2; exit 3"
        missing = Probe(ProbeType.COMMAND, interval=0.03, command=("/nowhere/probe",))
        await s.up(s.profile(local(probe=shell(script)), local("lost", probe=missing)))
        error = (await until_health(s, "web", Health.UNHEALTHY)).last_error
        assert error is not None
        assert error.code == Code.TARGET_UNREACHABLE
        assert error.message == "probe of web: ended with exit status 3: the schema is\\ttoo old"
        assert f"TUNNELCTL_ADDRESS=127.0.0.1:{s.port('web')}" in error.hint
        error = (await until_health(s, "lost", Health.UNHEALTHY)).last_error
        assert error is not None
        assert error.code == Code.CONFIG_INVALID
        assert "/nowhere/probe" in error.message


async def test_at_its_timeout_it_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f'sleep 1000 & echo $$ $! >"{pids}.new"; mv "{pids}.new" "{pids}"; wait'
    async with scene() as s:
        await s.up(s.profile(local(probe=shell(script, timeout=1, fall=1))))
        error = (await until_health(s, "web", Health.UNHEALTHY)).last_error
        assert error is not None
        assert error.code == Code.TARGET_UNREACHABLE
        assert "killed after 1 s" in error.message
        await eventually_async(pids.exists, "one came so far as to tell what it started")
        started = [int(pid) for pid in pids.read_text().split()]
    for pid in started:
        await eventually_async(lambda: not is_running(pid), f"{pid} is gone")  # noqa: B023 - awaited


async def test_it_does_not_outlive_the_tunnel(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f'sleep 1000 & echo $$ $! >"{pids}.new"; mv "{pids}.new" "{pids}"; wait'
    async with scene() as s:
        await s.up(s.profile(local(probe=shell(script, timeout=600))))
        await eventually_async(pids.exists, "it runs")
        started = [int(pid) for pid in pids.read_text().split()]
        assert all(is_running(pid) for pid in started)
        await s.supervisor.down("dev", 0)
        assert not is_running(started[0])
    for pid in started:
        await eventually_async(lambda: not is_running(pid), f"{pid} is gone")  # noqa: B023 - awaited


async def test_it_does_not_keep_a_lazy_host_awake(tmp_path: Path) -> None:
    require("socat")
    ran = tmp_path / "ran"
    with EchoService() as service, EchoService() as other:
        async with scene() as s:
            script = f'/usr/bin/socat -T 10 /dev/null TCP:"$TUNNELCTL_ADDRESS"; touch "{ran}"'
            rule = local("echo", target=Endpoint(LOOPBACK, service.port), probe=shell(script))
            await s.up(s.profile(rule, host=s.host(lazy=True, idle_timeout=0.5)))
            asked = local("asked", target=Endpoint(LOOPBACK, other.port), probe=TCP)
            await s.up(s.profile(asked, name="other"))
            await eventually_async(lambda: other.accepted >= 10, "time passes")
            assert s.host_status().state is HostState.IDLE
            async with client(s.port("echo")) as one:
                assert await one.echo(b"x") == b"x"
                await eventually_async(ran.exists, "it runs beside a client")
            await s.until_host(HostState.IDLE)
