"""Another version of a profile, applied to one that runs: only the difference is touched."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

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
from tests.support.sshd import OpenSSHServer
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.profile import Profile
from tunnelctl.sshd.server import EmbeddedServer
from tunnelctl.state.documents.snapshot import HostState, ProfileState
from tunnelctl.supervisor.forwards.local_forwarding import LocalForwarding


async def test_a_forward_is_added_on_the_live_link() -> None:
    async with scene() as s, echo_service() as echo:
        first = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(first))
        async with client(s.port("echo")) as one:
            await one.echo(b"before")
            await s.up(s.profile(first, local(), remote("back", 0, echo)))
            assert b"Hello" in await hello(s.port("web"))
            async with client(s.port("back")) as other:
                assert await other.echo(b"new") == b"new"
            assert await one.echo(b"after") == b"after"
        assert s.states("server").count("connecting") == 1
        assert [f.name for f in s.status().forwards] == ["echo", "web", "back"]


async def test_a_forward_is_removed_and_the_others_live_on() -> None:
    async with scene() as s, echo_service() as echo:
        kept = local("kept", target=Endpoint(LOOPBACK, echo))
        gone = local("gone", target=Endpoint(LOOPBACK, echo))
        back = remote("back", 0, echo)
        await s.up(s.profile(kept, gone, back))
        gone_port, back_port = s.port("gone"), s.port("back")
        async with client(s.port("kept")) as lives, client(gone_port) as dies:
            await lives.echo(b"1")
            await dies.echo(b"2")
            await s.up(s.profile(kept))
            assert await dies.is_reset()
            assert await lives.echo(b"still") == b"still"
        for port in (gone_port, back_port):
            with pytest.raises(ConnectionRefusedError):
                await hello(port)
        assert [f.name for f in s.status().forwards] == ["kept"]
        assert s.host_status().reconnects == 0


async def test_a_port_goes_from_one_forward_to_another() -> None:
    async with scene() as s, echo_service() as echo:
        port = free_port()
        await s.up(s.profile(local("web", port)))
        await s.up(s.profile(local("echo", port, target=Endpoint(LOOPBACK, echo))))
        async with client(port) as one:
            assert await one.echo(b"mine now") == b"mine now"


async def test_ports_are_swapped_between_two_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes first finds the port taken by the other, and has it once that is changed."""
    monkeypatch.setattr(LocalForwarding, "retry_policy", LATE)
    async with scene() as s:
        ports = free_port(), free_port()
        for name, port in zip(("one", "two"), ports, strict=True):
            await s.up(s.profile(local(port=port), name=name))
        for name, port in zip(("two", "one"), ports, strict=True):
            await s.supervisor.up(s.profile(local(port=port), name=name), here())
        for name, port in zip(("two", "one"), ports, strict=True):
            await s.until(ProfileState.UP, name)
            assert s.port("web", name) == port
            assert b"Hello, World!" in await hello(port)


async def test_a_forward_with_another_target_is_replaced() -> None:
    async with scene() as s, echo_service() as echo:
        port = free_port()
        await s.up(s.profile(local("web", port)))
        await s.up(s.profile(local("web", port, target=Endpoint(LOOPBACK, echo))))
        async with client(port) as one:
            assert await one.echo(b"elsewhere") == b"elsewhere"
        assert s.host_status().reconnects == 0


@pytest.mark.parametrize("change", ["to", "via", "max_connections", "kind"])
async def test_a_listener_stays_bound_where_only_what_is_behind_it_changes(change: str) -> None:
    """Its port, which the system chose, is kept, and no client ever finds it closed."""
    async with scene() as s, echo_service() as echo, echo_service() as other:
        first = local("echo", target=Endpoint(LOOPBACK, echo))
        profile = s.profile(first)
        second = {
            "to": replace(first, target=Endpoint(LOOPBACK, other)),
            "via": replace(first, via="second"),
            "max_connections": replace(first, max_connections=7),
            "kind": replace(first, target=None),
        }[change]
        (host,) = profile.hosts
        hosts = (host, replace(host, name="second")) if change == "via" else (host,)
        await s.up(profile)
        port = s.port("echo")
        async with client(port) as one:
            assert await one.echo(b"before") == b"before"
            changing = asyncio.create_task(s.up(replace(profile, hosts=hosts, forwards=(second,))))
            while not changing.done():
                with contextlib.suppress(ConnectionResetError, asyncio.IncompleteReadError):
                    async with client(port) as passing:
                        await passing.echo(b"passing")
            await changing
            assert await one.is_reset()
        assert s.port("echo") == port
        if change != "kind":
            async with client(port) as two:
                assert await two.echo(b"after") == b"after"


async def test_required_is_changed_under_open_connections(sshd: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        rule = local("echo", target=Endpoint(LOOPBACK, echo))
        refused = remote("back", 0, echo)
        sshd.reconfigure("PermitListen none")
        sshd.restart()
        host = sshd.host(name="server")
        await s.supervisor.up(s.profile(rule, refused, host=host), here())
        await s.until(ProfileState.DEGRADED)
        async with client(s.port("echo")) as one:
            await one.echo(b"before")
            await s.up(s.profile(rule, replace(refused, required=False), host=host))
            assert await one.echo(b"after") == b"after"


async def test_a_new_reconnect_policy_leaves_the_link_alone() -> None:
    async with scene() as s, echo_service() as echo:
        rule = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(rule))
        async with client(s.port("echo")) as one:
            await one.echo(b"before")
            await s.up(s.profile(rule, host=s.host(reconnect=LATE)))
            assert await one.echo(b"after") == b"after"
        assert s.states("server").count("connecting") == 1


async def test_a_shorter_reconnect_policy_cuts_the_wait() -> None:
    async with scene() as s:
        await s.server.kill()
        await s.supervisor.up(s.profile(local(), host=s.host(reconnect=LATE)), here())
        await s.until_host(HostState.BACKOFF)
        await s.server.start()
        await s.up(s.profile(local()))


async def test_a_host_elsewhere_is_connected_to_anew_and_the_port_stays_bound() -> None:
    async with scene() as s:
        other = EmbeddedServer(s.reactor)
        await other.start()
        await s.up(s.profile(local()))
        port = s.port("web")
        await s.up(s.profile(local(), host=other.client_host(s.host())))
        assert s.host_status().address == f"{LOOPBACK}:{other.port}"
        assert s.port("web") == port
        assert b"Hello" in await hello(port)
        await s.supervisor.down("dev", 0)
        await other.close()


async def test_from_the_embedded_server_to_a_real_one(sshd: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        rule = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(rule, host=s.host(embedded=True)))
        await s.up(s.profile(rule, host=sshd.host(name="server")))
        assert (s.host_status().server or "").startswith("OpenSSH")
        async with client(s.port("echo")) as one:
            assert await one.echo(b"real") == b"real"


async def test_hosts_come_and_go() -> None:
    async with scene() as s, echo_service() as echo:
        first = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(first))
        second = local("web", via="second")
        both = Profile("dev", "dev.yaml", (s.host("second"), s.host()), (first, second))
        async with client(s.port("echo")) as one:
            await one.echo(b"before")
            await s.up(both)
            assert [h.name for h in s.status().hosts] == ["second", "server"]
            assert b"Hello" in await hello(s.port("web"))
            port = s.port("web")
            await s.up(s.profile(first))
            with pytest.raises(ConnectionRefusedError):
                await hello(port)
            assert await one.echo(b"after") == b"after"
        assert [h.name for h in s.status().hosts] == ["server"]


async def test_a_forward_moves_to_another_host() -> None:
    async with scene() as s:
        port = free_port()
        hosts = (s.host(), s.host("second"))
        await s.up(Profile("dev", "dev.yaml", hosts, (local("web", port),)))
        await s.up(Profile("dev", "dev.yaml", hosts, (local("web", port, via="second"),)))
        assert s.forward("web").via == "second"
        assert b"Hello" in await hello(port)


async def test_a_new_source_is_shown() -> None:
    async with scene() as s:
        await s.up(s.profile(local()))
        await s.up(replace(s.profile(local()), source="elsewhere/dev.yaml"))
        assert s.status().source == "elsewhere/dev.yaml"
