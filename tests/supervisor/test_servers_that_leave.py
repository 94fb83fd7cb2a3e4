"""Servers that forward nothing and leave whoever asks, as ProFTPD's mod_sftp does: it is said what
they are, and they are not asked again with every client."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.supervisor.scene import SOON, Scene, client, echo_service, local, remote, scene
from tests.support.here import here
from tests.support.hostile import Peer, ScriptedServer
from tests.support.servers import running
from tests.support.servers.proftpd import ProftpdServer
from tests.support.services import connect, receive
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import WhileDown
from tunnelctl.spec.host import Host
from tunnelctl.state.documents.snapshot import ForwardState, HostState
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message


def refuses_and_leaves(peer: Peer) -> None:
    """As mod_sftp."""
    peer.send(
        messages.channel_open_failure(peer.asked_to_open(), 3, "no such channel"),
        messages.disconnect(11, "not offered"),
    )


def leaves_without_an_answer(peer: Peer) -> None:
    peer.asked_to_open()
    peer.send(messages.disconnect(2, "not offered"))


def hangs_up(peer: Peer) -> None:
    peer.asked_to_open()
    peer.sock.shutdown(socket.SHUT_RDWR)


def _come_and_go(port: int) -> None:
    with contextlib.suppress(ConnectionResetError), connect(port) as connection:
        receive(connection)


async def _found_out(s: Scene, host: Host) -> None:
    """Bring it up, and come until it is known what the server is; then come again."""
    # A client that must wait is turned away at once.
    rule = local("db", target=Endpoint(LOOPBACK, 5432), while_down=WhileDown(hold=0))
    await s.up(s.profile(rule, host=host))
    port = s.port("db")

    def is_known() -> bool:
        error = s.host_status().last_error
        return error is not None and error.code == Code.FORWARD_DENIED

    while not is_known():
        await in_thread(_come_and_go, port)
        await eventually_async(
            lambda: is_known() or s.host_status().state is HostState.UP, "the next link is up"
        )
    status = await s.until_host(HostState.BACKOFF)
    assert status.last_error is not None
    assert "this happens with every forwarded connection" in status.last_error.message
    assert "does not forward" in status.last_error.hint
    tries = s.states("server").count(HostState.CONNECTING)
    for _ in range(5):
        await in_thread(_come_and_go, port)
    assert s.states("server").count(HostState.CONNECTING) == tries
    assert tries == 3


@pytest.mark.parametrize("script", [refuses_and_leaves, leaves_without_an_answer, hangs_up])
async def test_a_server_that_leaves_at_each_forward_is_called_so(
    script: Callable[[Peer], None],
) -> None:
    with ScriptedServer(script) as server:
        async with scene() as s:
            await _found_out(s, server.host_with(name="server", reconnect=SOON))


async def test_while_it_rests_its_clients_do_not_wait_and_are_told_why() -> None:
    """Also those of a forward that is added meanwhile, and those that waited already."""
    with ScriptedServer(refuses_and_leaves) as server:
        async with scene() as s:
            host = server.host_with(name="server", reconnect=SOON)
            await _found_out(s, host)
            old, new = (
                local(name, target=Endpoint(LOOPBACK, 5432), while_down=WhileDown(hold=600))
                for name in ("db", "more")
            )
            await s.supervisor.up(s.profile(old, new, host=host), here())
            # Whoever says `up` has it tried at once.
            await s.until_host(HostState.UP)
            while s.host_status().state is not HostState.BACKOFF:
                await in_thread(_come_and_go, s.port("more"))
            for name in ("db", "more"):
                await in_thread(_come_and_go, s.port(name))
                error = s.forward(name).last_error
                assert error is not None
                assert "this happens with every forwarded connection" in error.message
                assert "does not forward" in error.hint


async def test_whose_time_is_up_is_told_why_there_is_no_link() -> None:
    async with scene() as s:
        rule = local("db", while_down=WhileDown(hold=0.2))
        await s.up(s.profile(rule, host=s.host(reconnect=SOON)))
        await s.server.close()
        await s.until_told("server", HostState.BACKOFF)
        await s.until_told("server", HostState.BACKOFF, 2)
        await in_thread(_come_and_go, s.port("db"))
        error = await eventually_async(lambda: s.forward("db").last_error, "it is told")
        assert error is not None
        assert "forward db: client refused: no link for 0.2 s (" in error.message
        assert "connection refused by" in error.message
        assert "check that an SSH server runs there" in error.hint


async def test_proftpd_is_called_so(tmp_path: Path) -> None:
    with running(ProftpdServer, tmp_path) as server:
        async with scene() as s:
            await _found_out(s, server.host(reconnect=SOON))
            error = s.host_status().last_error
            assert error is not None
            assert error.hint.startswith("mod_sftp ")
            # Whoever says `up` may have another server there by now.
            tries = s.states("server").count(HostState.CONNECTING)
            await s.supervisor.restart("dev")
            await s.until_told("server", HostState.UP, 1)
            assert s.states("server").count(HostState.CONNECTING) == tries + 1


async def test_a_server_that_ends_with_its_clients_on_it_is_not(sshd: OpenSSHServer) -> None:
    """A link that has ever carried something, or that is lost without a word, is a lost link."""
    async with scene() as s, echo_service() as echo:
        rule = local("db", target=Endpoint(LOOPBACK, echo))
        await s.up(s.profile(rule, host=sshd.host(reconnect=SOON)))
        for times in range(5):
            async with client(s.port("db")) as one:
                assert await one.echo(b"hello") == b"hello"
                sshd.kill_sessions()
            await s.until_told("server", HostState.UP, times + 2)
        errors = [event.error.code for event in s.events if event.error is not None]
        assert Code.FORWARD_DENIED not in errors


async def test_a_server_that_refuses_and_goes_on_is_not() -> None:
    """It ended for another reason, later: what was last between us was no open."""

    def script(peer: Peer) -> None:
        peer.send(messages.channel_open_failure(peer.asked_to_open(), 1, "forbidden"))
        peer.send(messages.global_request("are you there", True))
        peer.expect(Message.REQUEST_FAILURE)
        peer.send(messages.disconnect(11, "shutting down"))

    with ScriptedServer(script) as server:
        async with scene() as s:
            rule = local("db", target=Endpoint(LOOPBACK, 5432))
            await s.up(s.profile(rule, host=server.host_with(name="server", reconnect=SOON)))
            for times in range(5):
                await in_thread(_come_and_go, s.port("db"))
                await s.until_told("server", HostState.UP, times + 2)
            ends = [event.error.code for event in s.events if event.error and event.name != "db"]
            assert set(ends) == {Code.SESSION_LOST}


class ChokesOnPortZero:
    """Closes the connection when it is asked to choose a port, as long as it is `broken`."""

    def __init__(self) -> None:
        self.broken = True

    def __call__(self, peer: Peer) -> None:
        while True:
            reader = peer.expect(Message.GLOBAL_REQUEST)
            name, wants_reply = reader.text(), reader.boolean()
            if name != "tcpip-forward":
                if wants_reply:
                    peer.send(bytes((Message.REQUEST_FAILURE,)))
                continue
            reader.text()
            port = reader.u32()
            if port == 0 and self.broken:
                return
            granted = messages.u32(4001) if port == 0 else b""
            peer.send(bytes((Message.REQUEST_SUCCESS,)) + granted)


async def test_a_forward_that_a_server_leaves_for_fails_and_not_its_host() -> None:
    """Twisted Conch does so for port 0. The link lives on without that forward."""
    script = ChokesOnPortZero()
    with ScriptedServer(script) as server:
        async with scene() as s:
            host = server.host_with(name="server", reconnect=SOON)
            rules = (remote("good", 4000, 9), remote("bad", 0, 9), remote("last", 4002, 9))
            profile = s.profile(*rules, host=host)
            await s.supervisor.up(profile, here())
            status = await s.until_forward("bad", ForwardState.FAILED)
            assert status.last_error is not None
            assert status.last_error.code == Code.FORWARD_DENIED
            assert "closes the connection when asked to listen on" in (status.last_error.message)
            assert "choose a port number instead of 0" in status.last_error.hint
            assert status.next_retry_at is None
            for name in ("good", "last"):
                await s.until_forward(name, ForwardState.UP)
            assert s.host_status().state is HostState.UP
            assert s.states("server").count(HostState.UP) == 3

            script.broken = False
            await s.supervisor.up(profile, here())
            await s.until_forward("bad", ForwardState.UP)
