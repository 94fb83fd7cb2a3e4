"""Hosts that stand in for one that cannot be reached, and the way back to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.supervisor.scene import LATE, Scene, client, echo_service, hello, local, remote, scene
from tests.support.chaos import ChaosProxy
from tests.support.ports import free_port
from tests.support.waiting import eventually_async
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.host import Host, Reconnect
from tunnelctl.sshd.server import EmbeddedServer
from tunnelctl.state.documents.snapshot import HostState, ProfileState

# The host itself is asked again twice a second.
OFTEN = Reconnect(min=0.05, max=0.5)


@asynccontextmanager
async def two_servers() -> AsyncIterator[tuple[Scene, ChaosProxy, Host]]:
    """A scene, the way to a second server, and a host with that one as its fallback."""
    async with scene() as s:
        other = EmbeddedServer(s.reactor)
        await other.start()
        try:
            with ChaosProxy(other.port) as way:
                fallback = replace(other.client_host(Host("spare", "")), port=way.port)
                yield s, way, s.host(fallback=(fallback,), reconnect=OFTEN)
                await s.supervisor.close(10)
        finally:
            await other.close()


async def test_the_fallback_serves_when_the_host_cannot_be_reached() -> None:
    async with two_servers() as (s, other, host):
        await s.server.kill()
        await s.up(s.profile(local(), host=replace(host, reconnect=LATE)))
        status = s.host_status()
        assert status.fallback == "spare"
        assert status.address == f"127.0.0.1:{other.port}"
        assert status.last_error is not None
        assert status.last_error.code == "connection-refused"
        assert status.next_retry_at is not None
        assert b"Hello" in await hello(s.port("web"))
        told = [e for e in s.events if e.name == "server" and e.state == "up"]
        assert "spare" in told[0].message
        assert told[0].error is not None


async def test_the_host_itself_is_preferred() -> None:
    async with two_servers() as (s, _, host):
        await s.up(s.profile(local(), host=host))
        assert s.host_status().fallback is None
        assert s.host_status().address == f"127.0.0.1:{s.server.port}"


async def test_the_host_is_used_again_when_it_is_back_and_no_connection_is_harmed() -> None:
    async with two_servers() as (s, other, host), echo_service() as echo:
        await s.server.kill()
        await s.up(s.profile(local("echo", target=Endpoint(LOOPBACK, echo)), host=host))
        assert s.host_status().fallback == "spare"
        async with client(s.port("echo")) as old:
            assert await old.echo(b"over the spare") == b"over the spare"
            await s.server.start()
            await eventually_async(lambda: s.host_status().fallback is None, "it is home")
            assert s.host_status().last_error is None
            assert s.host_status().state is HostState.UP
            async with client(s.port("echo")) as new:
                assert await new.echo(b"over the host") == b"over the host"
                assert await old.echo(b"and still") == b"and still"
        await eventually_async(
            lambda: not other.connections, "the spare is left when nobody needs it"
        )
        assert s.status().state is ProfileState.UP
        assert ProfileState.DEGRADED not in s.states("")


async def test_remote_forwards_move_with_the_link() -> None:
    async with two_servers() as (s, _, host), echo_service() as echo:
        await s.server.kill()
        port = free_port()
        await s.up(s.profile(remote("back", port, echo), host=host))
        async with client(port) as old:
            assert await old.echo(b"over the spare") == b"over the spare"
            await s.server.start()
            await eventually_async(lambda: s.host_status().fallback is None, "it is home")
            # Both servers are this machine: the new one gets the port once the spare let go.
            await s.until(ProfileState.UP)
            async with client(port) as new:
                assert await new.echo(b"over the host") == b"over the host"
            assert await old.echo(b"and still") == b"and still"


async def test_both_gone_and_both_back() -> None:
    async with two_servers() as (s, other, host):
        await s.up(s.profile(local(), host=host))
        await s.server.kill()
        await eventually_async(lambda: s.host_status().fallback == "spare", "the spare serves")
        other.down()
        await s.until_told("server", "backoff", times=2)
        await s.server.start()
        await s.until(ProfileState.UP)
        assert b"Hello" in await hello(s.port("web"))


async def test_a_changed_host_key_is_told_while_the_fallback_serves() -> None:
    async with two_servers() as (s, _, host):
        stranger = replace(host, host_key=("SHA256:" + "A" * 43,))
        await s.up(s.profile(local(), host=stranger))
        status = s.host_status()
        assert status.fallback == "spare"
        assert status.last_error is not None
        assert status.last_error.code == "host-key-changed"
        # It is not asked again by itself.
        assert status.next_retry_at is None


async def test_a_host_key_that_changed_meanwhile_is_an_alarm_though_the_fallback_serves() -> None:
    """The host was away, and its address answers again, as somebody else."""
    async with two_servers() as (s, _, host):
        await s.server.kill()
        await s.up(s.profile(local(), host=replace(host, host_key=("SHA256:" + "A" * 43,))))
        before = s.host_status()
        assert before.last_error is not None
        assert before.last_error.code == "connection-refused"
        await s.server.start()

        def alarms() -> list[str]:
            return [e.message for e in s.events if e.error and e.error.code == "host-key-changed"]

        await eventually_async(lambda: bool(alarms()), "it is told")
        assert len(alarms()) == 1
        assert "the fallback spare" in alarms()[0]
        status = s.host_status()
        assert (status.fallback, status.state) == ("spare", HostState.UP)
        assert (status.since, status.reconnects) == (before.since, before.reconnects)
        assert status.next_retry_at is None
        # What did not change was not told again: each of its tries was refused.
        refused = [e for e in s.events if e.error and e.error.code == "connection-refused"]
        assert len(refused) == len({e.state for e in refused})
