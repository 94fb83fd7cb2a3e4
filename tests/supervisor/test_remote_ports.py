"""A remote forward's port: held by a stranger, by our own ghost, or elsewhere than we asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from tests.supervisor.scene import (
    LATE,
    SOON,
    client,
    echo_service,
    local,
    remote,
    scene,
    taken_port,
)
from tests.support.here import here
from tests.support.ports import free_port
from tests.support.servers import running
from tests.support.servers.dropbear import DropbearServer, NarrowDropbear, WideDropbear
from tests.support.services import Service
from tests.support.sshd import OpenSSHServer
from tests.support.urls import UrlServer
from tests.support.waiting import eventually_async
from tunnelctl import clock
from tunnelctl.errors import Code
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Probe, ProbeType
from tunnelctl.spec.host import SessionType
from tunnelctl.state.documents.snapshot import ForwardState, HostState, ProfileState
from tunnelctl.supervisor.forwards.remote_forwarding import RemoteForwarding


async def test_a_stranger_on_the_port_is_told_with_the_next_try(sshd: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo, taken_port() as (port, free):
        rules = (remote("back", port, echo), local("out", target=Endpoint(LOOPBACK, echo)))
        await s.supervisor.up(s.profile(*rules, host=sshd.host(reconnect=SOON)), here())
        status = await s.until_refused("back")
        assert status.last_error is not None
        assert status.last_error.code == Code.PORT_IN_USE
        assert status.last_error.message.endswith(f"127.0.0.1:{port} on server is in use")
        assert "session" not in status.last_error.hint
        assert f"on the server: ss -ltnp 'sport = :{port}'" in status.last_error.hint
        assert status.attempts >= 1
        assert status.next_retry_at is not None
        assert status.since is not None
        assert status.next_retry_at > status.since
        assert s.host_status().state is HostState.UP
        async with client(s.port("out")) as one:
            assert await one.echo(b"the others work") == b"the others work"
        free()
        await s.until(ProfileState.UP)
        assert (s.forward("back").attempts, s.forward("back").next_retry_at) == (0, None)


NO_PROBE = Probe(ProbeType.NONE)


@pytest.mark.parametrize("asked", ["localhost", "127.0.0.1", "*"])
async def test_a_stranger_on_one_of_the_loopback_addresses_is_told(
    sshd: OpenSSHServer, asked: str
) -> None:
    """sshd says yes when [::1] alone was free, and clients of 127.0.0.1 get to the stranger."""
    async with scene() as s, echo_service() as echo, taken_port() as (port, free):
        rule = remote("back", port, echo, listen=Endpoint(asked, port), expose=True)
        await s.supervisor.up(s.profile(rule, host=sshd.host(reconnect=SOON)), here())
        status = await s.until_forward("back", ForwardState.FAILED)
        assert status.last_error is not None
        assert status.last_error.code == Code.PORT_IN_USE
        assert "up" not in s.states("back")
        assert s.host_status().state is HostState.UP
        free()
        await s.until(ProfileState.UP)
        async with client(port) as one:
            assert await one.echo(b"mine now") == b"mine now"


async def test_whose_port_it_is_is_found_out_without_the_target(sshd: OpenSSHServer) -> None:
    came: list[socket.socket] = []
    async with scene() as s:
        with Service(came.append) as target:
            rules = [
                remote(f"back{n}", 0, target.port, listen=Endpoint(name, 0), probe=NO_PROBE)
                for n, name in enumerate(("localhost", "127.0.0.1", "::1"))
            ]
            await s.up(s.profile(*rules, host=sshd.host()))
            await s.supervisor.restart("dev")
            await eventually_async(lambda: s.host_status().reconnects == 1, "it is up again")
            await s.until(ProfileState.UP)
            # A client is the only one who came, and is served.
            async with client(s.port("back0")) as one:
                assert not await one.is_reset()
            assert [s.forward(rule.name).connections_total for rule in rules] == [1, 0, 0]
    assert len(came) == 1


async def test_clients_who_wait_for_the_port_are_served(sshd: OpenSSHServer) -> None:
    """Those who come before it is known whose port it is, too."""
    async with scene() as s, echo_service() as echo:
        port = free_port()

        async def served(text: bytes) -> bytes:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    async with client(port) as one:
                        return await one.echo(text)
                await asyncio.sleep(0)

        texts = [b"client %d" % number for number in range(8)]
        waiting = [asyncio.create_task(served(text)) for text in texts]
        await s.up(s.profile(remote("back", port, echo), host=sshd.host()))
        assert await asyncio.gather(*waiting) == texts


async def test_a_server_that_dials_nothing_is_not_suspected(sshd: OpenSSHServer) -> None:
    sshd.reconfigure("AllowTcpForwarding remote")
    async with scene() as s, echo_service() as echo:
        rule = remote("back", 0, echo, listen=Endpoint("localhost", 0))
        await s.up(s.profile(rule, host=sshd.host()))
        async with client(s.port("back")) as one:
            assert await one.echo(b"hello") == b"hello"
        assert s.forward("back").last_error is None


async def test_a_forward_that_sshd_forbids_is_denied_not_taken(sshd: OpenSSHServer) -> None:
    sshd.reconfigure("AllowTcpForwarding local")
    async with scene() as s:
        await s.supervisor.up(s.profile(remote("back", free_port(), 9), host=sshd.host()), here())
        status = await s.until_forward("back", ForwardState.FAILED)
        assert status.last_error is not None
        assert status.last_error.code == Code.FORWARD_DENIED


async def test_a_server_that_does_not_say_which_port_it_chose() -> None:
    with UrlServer() as server:
        async with scene() as s:
            host = server.host_with(name="server", session_type=SessionType.DEFAULT)
            await s.supervisor.up(s.profile(remote("back", 0, 9), host=host), here())
            status = await s.until_forward("back", ForwardState.FAILED)
            assert status.last_error is not None
            assert status.last_error.code == Code.FORWARD_DENIED
            assert "does not report which port it chose" in status.last_error.message
            assert (s.host_status().state, s.host_status().reconnects) == (HostState.UP, 0)


async def test_our_own_ghost_holds_the_port_until_the_server_lets_go(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that hangs keeps its listener, whatever becomes of its client. That passes, so it
    is asked for again soon, however long a stranger would be left alone."""
    monkeypatch.setattr(RemoteForwarding, "retry_policy", LATE)
    async with scene() as s, echo_service() as echo:
        port = free_port()
        rules = (remote("back", port, echo), local("out", target=Endpoint(LOOPBACK, echo)))
        host = sshd.host(reconnect=SOON, server_alive_interval=1, server_alive_count_max=2)
        await s.up(s.profile(*rules, host=host))
        ghost = sshd.sessions
        for pid in ghost:
            os.kill(pid, signal.SIGSTOP)
        try:
            await s.until_told("server", "backoff")
            await s.until_host(HostState.UP)
            status = await s.until_refused("back")
            assert status.last_error is not None
            assert status.last_error.code == Code.PORT_IN_USE
            assert (
                "still held by an earlier session of ours (dev/back)" in status.last_error.message
            )
            assert "ClientAliveInterval" in status.last_error.hint
            assert status.next_retry_at is not None
            wait = datetime.fromisoformat(status.next_retry_at) - clock.wall()
            assert wait.total_seconds() <= 5
            # The other forwards are not kept waiting, and the link is not dropped for it.
            async with client(s.port("out")) as one:
                assert await one.echo(b"hello") == b"hello"
            assert s.status().state is ProfileState.DEGRADED
        finally:
            for pid in ghost:
                os.kill(pid, signal.SIGCONT)
        await s.until(ProfileState.UP)
        async with client(port) as one:
            assert await one.echo(b"mine again") == b"mine again"
        assert s.host_status().reconnects == 1


async def test_a_port_that_the_server_chose_stays_over_changes_and_links(
    sshd: OpenSSHServer,
) -> None:
    """As `local: 0` keeps its port: clients know it."""
    async with scene() as s, echo_service() as one, echo_service() as other:
        host = sshd.host(reconnect=SOON)
        rules = [remote("back", 0, one, listen=Endpoint(name, 0)) for name in ("localhost", "*")]
        rules = [replace(rule, name=f"back{n}", expose=True) for n, rule in enumerate(rules)]
        await s.up(s.profile(*rules, host=host))
        ports = [s.port("back0"), s.port("back1")]
        changed = [replace(rule, target=Endpoint(LOOPBACK, other)) for rule in rules]
        await s.up(s.profile(*changed, host=host))
        assert [s.port("back0"), s.port("back1")] == ports
        for number in (1, 2):
            if number == 1:
                for pid in sshd.sessions:
                    os.kill(pid, signal.SIGKILL)
            else:
                await s.supervisor.restart("dev")
            await s.until_told("back1", "up", number + 2)
            await s.until(ProfileState.UP)
            assert [s.port("back0"), s.port("back1")] == ports
            async with client(ports[0]) as echoing:
                assert await echoing.echo(b"the same") == b"the same"
        assert s.host_status().reconnects == 2


async def test_a_port_that_the_server_chose_and_somebody_took_is_another_one(
    sshd: OpenSSHServer,
) -> None:
    """Which is said: a new port is better than none, until a ghost lets go."""
    async with scene() as s, echo_service() as echo:
        host = sshd.host(reconnect=SOON, server_alive_interval=1, server_alive_count_max=2)
        await s.up(s.profile(remote("back", 0, echo), host=host))
        port, ghost = s.port("back"), sshd.sessions
        for pid in ghost:
            os.kill(pid, signal.SIGSTOP)
        try:
            await s.until_told("back", "up", 2)
            await s.until(ProfileState.UP)
            assert s.port("back") != port
            assert s.events[-1].error is None
            async with client(s.port("back")) as one:
                assert await one.echo(b"at another port") == b"at another port"
        finally:
            for pid in ghost:
                os.kill(pid, signal.SIGCONT)


async def test_a_server_that_listens_on_loopback_alone_is_found_out(sshd: OpenSSHServer) -> None:
    """GatewayPorts no, which is the default, says yes to every address and takes loopback."""
    sshd.reconfigure("ListenAddress 127.0.0.2", "GatewayPorts no")
    async with scene() as s, echo_service() as echo:
        wide = remote("wide", 0, echo, listen=Endpoint("0.0.0.0", 0), expose=True)
        host = sshd.host(hostname="127.0.0.2", host_key_alias=sshd.pattern)
        await s.up(s.profile(wide, remote("back", 0, echo), host=host))
        await eventually_async(lambda: s.forward("wide").last_error is not None, "it is said")
        status = s.forward("wide")
        assert status.state is ForwardState.UP
        assert status.last_error is not None
        assert "loopback" in status.last_error.message
        assert "GatewayPorts" in status.last_error.hint
        assert status.listen == f"localhost:{s.port('wide')}"
        assert s.forward("back").last_error is None
        assert any("loopback" in e.message for e in s.events if e.name == "wide")
        assert s.forward("wide").connections_total == 0


async def test_a_server_that_listens_as_widely_as_asked_is_not_suspected(
    sshd: OpenSSHServer,
) -> None:
    sshd.reconfigure("ListenAddress 127.0.0.2", "GatewayPorts clientspecified")
    async with scene() as s, echo_service() as echo:
        wide = remote("wide", 0, echo, listen=Endpoint("0.0.0.0", 0), expose=True)
        host = sshd.host(hostname="127.0.0.2", host_key_alias=sshd.pattern)
        await s.up(s.profile(wide, host=host))
        await eventually_async(lambda: s.forward("wide").connections_total == 1, "it was tried")
        assert s.forward("wide").last_error is None


@pytest.mark.parametrize("kind", [WideDropbear, NarrowDropbear])
async def test_dropbear_without_its_option_listens_on_loopback_alone(
    kind: type[DropbearServer], tmp_path: Path
) -> None:
    with running(kind, tmp_path) as server:
        async with scene() as s, echo_service() as echo:
            wide = remote("wide", 0, echo, listen=Endpoint("0.0.0.0", 0), expose=True)
            host = server.host(hostname="127.0.0.2", host_key_alias=server.pattern)
            await s.up(s.profile(wide, host=host))
            if server.options:
                await eventually_async(lambda: s.forward("wide").connections_total == 1, "tried")
                assert s.forward("wide").last_error is None
                assert s.forward("wide").listen == f"0.0.0.0:{s.port('wide')}"
                return
            await eventually_async(lambda: s.forward("wide").last_error is not None, "it is said")
            status = s.forward("wide")
            assert status.state is ForwardState.UP
            assert status.last_error is not None
            assert status.last_error.hint == "the option -a of dropbear there allows it"
            assert status.listen == f"localhost:{s.port('wide')}"


async def test_a_server_that_opens_a_loopback_port_to_the_world_is_told(
    sshd: OpenSSHServer,
) -> None:
    sshd.reconfigure("GatewayPorts yes")
    async with scene() as s, echo_service() as echo:
        await s.up(s.profile(remote("back", 0, echo), host=sshd.host()))
        status = s.forward("back")
        assert status.state is ForwardState.UP
        assert status.last_error is not None
        assert "all addresses" in status.last_error.message
        assert status.listen == f"*:{s.port('back')}"
        assert "GatewayPorts" in status.last_error.hint
