"""Bringing profiles up, and what status says meanwhile. Real links, real sockets."""

from __future__ import annotations

import os

import pytest

from tests.supervisor.scene import (
    client,
    echo_service,
    hello,
    local,
    remote,
    scene,
    taken_port,
)
from tests.support.here import here
from tests.support.ports import free_port
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile
from tunnelctl.sshd.server import EmbeddedServer
from tunnelctl.state.documents.snapshot import ForwardState, HostState, ProfileState, Wanted
from tunnelctl.state.documents.status_events import EventKind


async def test_a_profile_comes_up_and_serves() -> None:
    async with scene() as s:
        await s.up(s.profile(local()))
        assert b"Hello, World!" in await hello(s.port("web"))
        status = s.status()
        assert (status.wanted, status.state) == (Wanted.UP, ProfileState.UP)
        host = s.host_status()
        assert host.address == f"{LOOPBACK}:{s.server.port}"
        assert host.cipher
        assert host.kex
        assert host.server
        assert host.last_error is None
        assert (host.attempts, host.reconnects) == (0, 0)
        await eventually_async(lambda: s.host_status().rtt_ms, "the round trip is measured")
        await eventually_async(lambda: s.forward("web").connections_open == 0, "closed")
        forward = s.forward("web")
        assert (forward.type, forward.target, forward.via) == ("local", "hello:80", "server")
        assert forward.connections_total == 1
        assert forward.bytes_in > 0
        assert forward.bytes_out > 0


async def test_up_is_said_in_order_and_not_before_it_is_true() -> None:
    async with scene() as s:
        await s.up(s.profile(local()))
        await s.until_told("", "up")
        assert s.states("server") == ["connecting", "authenticating", "up"]
        assert s.states("web") == ["up"]
        assert s.states("") == ["starting", "up"]
        assert s.events[-1].kind is EventKind.PROFILE


async def test_a_host_with_an_embedded_server_needs_nothing_else() -> None:
    async with scene() as s:
        await s.up(s.profile(local(), host=Host("server", "", embedded=True)))
        assert b"Hello, World!" in await hello(s.port("web"))


async def test_against_openssh(sshd: OpenSSHServer) -> None:
    async with scene() as s, echo_service() as echo:
        host = sshd.host(name="server")
        to_echo = local("echo", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(to_echo, remote("back", 0, echo), host=host))
        assert s.host_status().server is not None
        for name in ("echo", "back"):
            async with client(s.port(name)) as one:
                assert await one.echo(b"over there") == b"over there"


async def test_a_second_up_changes_nothing() -> None:
    async with scene() as s, echo_service() as echo:
        profile = s.profile(local("echo", target=Endpoint(LOOPBACK, echo)))
        await s.up(profile)
        async with client(s.port("echo")) as one:
            await one.echo(b"before")
            told = len(s.events)
            await s.up(profile)
            assert await one.echo(b"after") == b"after"
            assert len(s.events) == told


async def test_a_remote_forward_serves_clients_of_the_server() -> None:
    async with scene() as s, echo_service() as echo:
        await s.up(s.profile(remote("back", 0, echo)))
        async with client(s.port("back")) as one:
            assert await one.echo(b"from there") == b"from there"
        assert s.forward("back").type == "remote"


async def test_a_busy_local_port_is_told_and_tried_again() -> None:
    async with scene() as s, taken_port() as (port, free):
        await s.supervisor.up(s.profile(local(port=port), local("other")), here())
        # Whether or not there is a link yet.
        error = (await s.until_forward("web", ForwardState.FAILED)).last_error
        assert error is not None
        assert error.code == Code.PORT_IN_USE
        assert f"pid {os.getpid()}" in error.message
        await s.until(ProfileState.DEGRADED)
        assert b"Hello" in await hello(s.port("other"))
        assert s.forward("web").state is ForwardState.FAILED
        free()
        await s.until(ProfileState.UP)
        assert b"Hello" in await hello(port)
        assert s.forward("web").last_error is None


async def test_up_tries_a_busy_port_at_once() -> None:
    async with scene() as s, taken_port() as (port, free):
        profile = s.profile(local(port=port))
        await s.supervisor.up(profile, here())
        await s.until_host(HostState.UP)
        await s.until_forward("web", ForwardState.FAILED)
        free()
        await s.supervisor.up(profile, here())
        await s.until(ProfileState.UP)


async def test_an_address_that_can_never_be_bound_fails_the_profile() -> None:
    async with scene() as s:
        elsewhere = local(listen=Endpoint("192.0.2.1", 5432), expose=True)
        await s.supervisor.up(s.profile(elsewhere, local("other")), here())
        await s.until(ProfileState.FAILED)
        assert s.forward("web").state is ForwardState.FAILED
        await s.until_forward("other", ForwardState.UP)


async def test_a_forward_that_is_not_required_does_not_keep_the_profile_from_up() -> None:
    async with scene() as s, taken_port() as (port, _):
        await s.up(s.profile(local(port=port, required=False), local("other")))
        await s.until_forward("web", ForwardState.FAILED)


async def test_a_refused_remote_forward_is_tried_again_while_the_others_work() -> None:
    async with scene() as s, echo_service() as echo, taken_port() as (port, free):
        await s.supervisor.up(s.profile(remote("back", port, echo), local()), here())
        await s.until(ProfileState.DEGRADED)
        error = s.forward("back").last_error
        assert error is not None
        assert error.code == Code.PORT_IN_USE
        assert s.host_status().state is HostState.UP
        assert b"Hello" in await hello(s.port("web"))
        free()
        await s.until(ProfileState.UP)
        assert s.forward("back").last_error is None
        assert s.host_status().reconnects == 0
        async with client(port) as one:
            assert await one.echo(b"at last") == b"at last"


async def test_what_cannot_pass_by_itself_is_not_tried_again() -> None:
    async with scene() as s:
        stranger = EmbeddedServer(s.reactor)  # its client's key is none that the server knows
        key = stranger.client_host(s.host()).identity_file
        profile = s.profile(local(), host=s.host(identity_file=key))
        await s.supervisor.up(profile, here())
        await s.until(ProfileState.FAILED)
        host = s.host_status()
        assert host.state is HostState.FAILED
        assert host.next_retry_at is None
        assert host.last_error is not None
        assert host.last_error.code == Code.AUTH_FAILED
        forward = s.forward("web")
        assert forward.state is ForwardState.FAILED
        assert forward.last_error == host.last_error
        # A corrected profile has it tried again.
        await s.up(s.profile(local()))
        assert s.states("server").count("connecting") == 2
        await stranger.close()


async def test_up_tries_a_failed_host_again() -> None:
    async with scene() as s:
        profile = s.profile(local(), host=s.host(host_key=("SHA256:" + "A" * 43,)))
        for tries in (1, 2):
            await s.supervisor.up(profile, here())
            await s.until(ProfileState.FAILED)
            await s.until_told("server", "failed", times=tries)
        assert s.states("server").count("connecting") == 2


async def test_a_refused_target_is_told_and_counted(sshd: OpenSSHServer) -> None:
    async with scene() as s:
        nobody = local(target=Endpoint(LOOPBACK, free_port()))
        await s.up(s.profile(nobody, host=sshd.host(name="server")))
        async with client(s.port("web")) as one:
            assert await one.is_reset()
        await s.until_told("web", "failed")
        told = next(e for e in s.events if e.kind is EventKind.CONNECTION)
        assert told.name == "web"
        assert told.error is not None
        assert told.error.code == Code.TARGET_REFUSED
        forward = s.forward("web")
        assert forward.last_error == told.error
        assert forward.state is ForwardState.UP
        assert forward.connections_failed == 1
        assert s.status().state is ProfileState.UP


async def test_two_profiles_cannot_have_one_port() -> None:
    async with scene() as s:
        await s.up(s.profile(local()))
        port = s.port("web")
        await s.supervisor.up(s.profile(local(port=port), name="other"), here())
        error = s.forward("web", "other").last_error
        assert error is not None
        assert error.code == Code.PORT_IN_USE
        assert s.status("dev").state is ProfileState.UP


async def test_profiles_are_listed_in_the_order_they_were_started() -> None:
    async with scene() as s:
        for name in ("b", "a"):
            await s.up(s.profile(local(), name=name))
        assert [p.name for p in s.supervisor.status()] == ["b", "a"]
        assert s.supervisor.status_of("c") is None


async def test_a_profile_with_two_hosts_is_up_when_both_are() -> None:
    async with scene() as s:
        nowhere = s.host("nowhere", port=free_port())
        hosts = (s.host(), nowhere)
        await s.supervisor.up(Profile("dev", "dev.yaml", hosts, (local(),)), here())
        await s.until(ProfileState.DEGRADED)
        assert s.host_status().state is HostState.UP
        assert b"Hello" in await hello(s.port("web"))
        await s.up(s.profile(local()))


async def test_an_unknown_profile_is_refused() -> None:
    async with scene() as s:
        with pytest.raises(Failure) as failure:
            await s.supervisor.down("nope", 0)
        assert failure.value.code is Code.PROFILE_NOT_FOUND
        with pytest.raises(Failure) as failure:
            await s.supervisor.restart("nope")
        assert failure.value.code is Code.PROFILE_NOT_FOUND
