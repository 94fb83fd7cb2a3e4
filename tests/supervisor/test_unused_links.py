"""Servers that end links which carry nothing (sshd_config(5) UnusedConnectionTimeout, dropbear -I):
no failure, and from then on the host is connected to when a client comes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.supervisor.scene import SOON, Scene, client, echo_service, local, remote, scene
from tests.support.clients import receive_exactly
from tests.support.here import here
from tests.support.hostile import Peer, ScriptedServer
from tests.support.ports import free_port
from tests.support.servers import running
from tests.support.servers.dropbear import DropbearServer
from tests.support.services import connect
from tests.support.sshd import OpenSSHServer, require_sshd, sshd_version
from tests.support.waiting import eventually
from tests.support.world import World, tunnel_text
from tunnelctl.errors import Code
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host, SessionType
from tunnelctl.state.documents.snapshot import ForwardState, HostState, ProfileState
from tunnelctl.state.host import unused
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of these tests end links sooner than one would be believed to do so."""
    monkeypatch.setattr(unused, "LEAST_SECONDS", 0.9)


@pytest.fixture
def spare(no_leaks: None, tmp_path: Path) -> Iterator[OpenSSHServer]:
    """An sshd that spares itself unused links."""
    server = OpenSSHServer(tmp_path / "sshd", config=["UnusedConnectionTimeout 1s"])
    if sshd_version(require_sshd()) < (9, 2):
        pytest.skip("OpenSSH has UnusedConnectionTimeout since 9.2")
    server.start()
    yield server
    server.stop()


def _to(echo: int, name: str = "echo") -> Forward:
    """A forward whose target is not probed, which would keep the link in use."""
    return local(name, target=Endpoint(LOOPBACK, echo))


def _troubles(s: Scene) -> int:
    return s.states("server").count(HostState.BACKOFF)


async def _rests(s: Scene, host: Host, echo: int) -> None:
    """Bring it up, and have it rest. Where the server says nothing two ends are no habit: the link
    is made anew at once after the first."""
    await s.up(s.profile(_to(echo), host=host))
    await s.until_told("server", HostState.IDLE)
    told = s.states("server")
    assert told[: told.index(HostState.UP) + 2][-1] in (HostState.CONNECTING, HostState.IDLE)


async def _is_on_demand(s: Scene, host: Host, echo: int) -> None:
    """See it rest, and have it serve clients without ever being in trouble."""
    await _rests(s, host, echo)
    troubles, reconnects = _troubles(s), s.host_status().reconnects
    status = s.host_status()
    assert status.last_error is not None
    assert "ends a link that has no open connection" in status.last_error.message
    assert "the next client opens another" in status.last_error.hint
    for times in range(1, 3):
        assert s.status().state is ProfileState.UP
        assert s.forward("echo").state is ForwardState.UP
        async with client(s.port("echo")) as one:
            assert await one.echo(b"hello") == b"hello"
            assert s.host_status().state is HostState.UP
            assert s.host_status().last_error is not None
        await s.until_told("server", HostState.IDLE, times + 1)
    assert _troubles(s) == troubles
    assert s.states("").count(ProfileState.DEGRADED) == reconnects
    assert s.host_status().attempts == 0
    assert s.host_status().reconnects == reconnects  # what comes for a client replaces nothing


async def test_sshd_that_ends_unused_links(spare: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        await _is_on_demand(s, spare.host(reconnect=SOON), echo)
    assert "terminating inactive connection" in spare.log


async def test_dropbear_that_ends_idle_links(tmp_path: Path) -> None:
    """Its timer runs while we log in, too, so a slow machine may need more tries; and each takes
    the 5 s."""

    class Spare(DropbearServer):
        options = ("-a", "-I", "5")

    with running(Spare, tmp_path) as server:
        async with scene() as s, echo_service() as echo:
            await s.up(s.profile(_to(echo), host=server.host(reconnect=SOON)))
            await s.until_told("server", HostState.IDLE, seconds=90)
            assert s.status().state is ProfileState.UP
            status = s.host_status()
            assert status.last_error is not None
            assert "ends a link that has no open connection" in status.last_error.message
            async with client(s.port("echo")) as one:
                assert await one.echo(b"hello") == b"hello"


async def test_a_server_that_says_so_is_believed_at_once() -> None:
    def script(peer: Peer) -> None:
        peer.send(messages.disconnect(11, "Idle timeout"))

    with ScriptedServer(script) as server:
        async with scene() as s:
            host = server.host_with(name="server", reconnect=SOON)
            await s.up(s.profile(local(), host=host))
            await s.until_told("server", HostState.IDLE)
            assert _troubles(s) == 0
            assert s.status().state is ProfileState.UP


async def test_a_listener_there_needs_the_link(spare: OpenSSHServer) -> None:
    """It is made anew each time, without a count of tries, and status says why."""
    async with scene() as s, echo_service() as echo:
        rule = remote("back", free_port(), echo)
        await s.up(s.profile(rule, host=spare.host(reconnect=SOON)))
        for times in range(2, 5):
            await s.until_told("back", ForwardState.UP, times)
            async with client(rule.listen.port) as one:
                assert await one.echo(b"hello") == b"hello"
        status = await s.until_host(HostState.UP)
        assert status.last_error is not None
        assert "ends a link that has no open connection" in status.last_error.message
        assert "session_type: default keeps a session open" in status.last_error.hint
        assert status.attempts == 0
        assert HostState.IDLE not in s.states("server")


async def test_a_listener_there_that_comes_later_has_the_link_made(spare: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        host = spare.host(reconnect=SOON)
        await _rests(s, host, echo)
        rule = remote("back", free_port(), echo)
        await s.supervisor.up(s.profile(_to(echo), rule, host=host), here())
        await s.until_told("back", ForwardState.UP)
        async with client(rule.listen.port) as one:
            assert await one.echo(b"hello") == b"hello"


async def test_a_forward_that_comes_while_it_rests_is_up(spare: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        host = spare.host(reconnect=SOON)
        await _rests(s, host, echo)
        await s.up(s.profile(_to(echo), _to(echo, "more"), host=host))
        async with client(s.port("more")) as one:
            assert await one.echo(b"hello") == b"hello"


async def test_the_session_that_the_hint_names_keeps_the_link(spare: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        kept = spare.host(reconnect=SOON, session_type=SessionType.DEFAULT)
        await s.up(s.profile(remote("back", free_port(), echo), name="kept", host=kept))
        await _rests(s, spare.host(reconnect=SOON), echo)
        async with client(s.port("echo")) as one:
            assert await one.echo(b"hello") == b"hello"
        await s.until_told("server", HostState.IDLE, 2)
        assert s.host_status(profile="kept").reconnects == 0


async def test_a_lazy_host_rests_when_its_server_ends_the_link(spare: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        await s.up(s.profile(_to(echo), host=spare.host(reconnect=SOON, lazy=True)))
        async with client(s.port("echo")) as one:
            assert await one.echo(b"hello") == b"hello"
        await s.until_told("server", HostState.IDLE)
        assert _troubles(s) == 0


@pytest.mark.parametrize("how", ["up", "change", "restart"])
async def test_who_asks_for_a_host_that_rests_hears_whether_it_works(
    spare: OpenSSHServer, how: str
) -> None:
    """It is connected to first: nothing says up of a host that would not serve."""
    async with scene() as s, echo_service() as echo:
        host = spare.host(reconnect=SOON)
        await _rests(s, host, echo)

        async def ask() -> None:
            if how == "restart":
                await s.supervisor.restart("dev")
            else:
                await getattr(s.supervisor, how)(s.profile(_to(echo), host=host), here())
            assert s.status().state is not ProfileState.UP

        before = s.states("server").count(HostState.UP)
        await ask()
        await s.until_told("server", HostState.UP, before + 1)
        await s.until_told("server", HostState.IDLE, 2)
        spare.stop()
        await ask()
        status = await s.until_host(HostState.BACKOFF)
        assert status.last_error is not None
        assert status.last_error.code == Code.CONNECTION_REFUSED


async def test_a_way_that_is_lost_again_and_again_is_no_habit_of_the_server(
    spare: OpenSSHServer, tmp_path: Path
) -> None:
    """A program in between that ends with a failure, always at the same age of the link."""
    fails = (
        "import socket, subprocess, sys\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "cat = subprocess.Popen(['cat'], stdin=s)\n"
        "try:\n"
        "    subprocess.run(['cat'], stdout=s, timeout=2)\n"
        "except subprocess.TimeoutExpired:\n"
        "    pass\n"
        "cat.kill()\n"
        "sys.exit('the way is gone')\n"
    )
    spare.reconfigure("UnusedConnectionTimeout 0")
    async with scene() as s, echo_service() as echo:
        program = (sys.executable, "-c", fails, "%h", "%p")
        host = spare.host(reconnect=SOON, proxy_command=program)
        await s.up(s.profile(_to(echo), host=host))
        await s.until_told("server", HostState.BACKOFF, 4)
        assert HostState.IDLE not in s.states("server")


async def test_a_client_finds_a_server_that_is_away(spare: OpenSSHServer) -> None:
    """Once a client asks, it is as stubborn as any host, and its profile is not up."""
    async with scene() as s, echo_service() as echo:
        await _rests(s, spare.host(reconnect=SOON), echo)
        spare.stop()
        async with client(s.port("echo")) as one:
            await s.until(ProfileState.DEGRADED)
            spare.start()
            assert await one.echo(b"hello") == b"hello"


async def test_a_channel_that_sshd_ends_is_no_end_of_the_link(tmp_path: Path) -> None:
    """ChannelTimeout: the client sees an end, and the next one has the same link."""
    server = OpenSSHServer(tmp_path / "sshd", config=["ChannelTimeout direct-tcpip=1s"])
    if sshd_version(require_sshd()) < (9, 2):
        pytest.skip("OpenSSH has ChannelTimeout since 9.2")
    server.start()
    try:
        async with scene() as s, echo_service() as echo:
            await s.up(s.profile(_to(echo), host=server.host(reconnect=SOON)))
            for _ in range(2):
                async with client(s.port("echo")) as one:
                    assert await one.echo(b"hello") == b"hello"
                    assert not await one.is_reset()
            assert s.states("server").count(HostState.UP) == 1
    finally:
        server.stop()


def test_commands_tell_why_a_host_rests(world: World) -> None:
    logins = 0

    def script(peer: Peer) -> None:
        nonlocal logins
        logins += 1
        if logins == 1:
            peer.send(messages.disconnect(11, "Idle timeout"))
            return
        peer.opened()
        peer.send(messages.channel_data(0, b"hello"))
        peer.expect(Message.CHANNEL_CLOSE)

    with ScriptedServer(script) as server:
        host = (
            f"{{hostname: 127.0.0.1, port: {server.port}, user: somebody, identity_agent: none, "
            f'server_alive_interval: 0, host_key: "{server.pin}"}}'
        )
        world.profile("dev", tunnel_text(host, db="local: 0, to: 9, probe: {type: none}"))
        world.ok("up", "dev", "-d")
        eventually(lambda: world.host("dev")["state"] == "idle", "it rests")
        shown = world.run("ps")
        assert shown.returncode == 0
        assert "idle" in shown.stdout
        assert "ends a link that has no open connection" in shown.stderr
        assert world.host("dev")["ends_unused"] is True
        assert "the profile is up" in world.run("doctor", "dev").stdout
        with connect(int(world.ok("port", "dev/db").rpartition(":")[2])) as one:
            assert receive_exactly(one, 5) == b"hello"
    refused = world.run("up", "dev", "-d", "--wait-timeout", "3s")
    assert refused.returncode == 75
    assert "refused" in refused.stderr
