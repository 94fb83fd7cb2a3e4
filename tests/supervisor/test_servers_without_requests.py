"""Servers that answer no global request, or do not know the one for a remote forward: they are told
from servers that are gone, and what they can do goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ssh.reach import reach
from tests.supervisor.scene import SOON, Scene, client, local, remote, scene
from tests.support.here import here
from tests.support.hostile import Peer, ScriptedServer
from tests.support.servers import running
from tests.support.servers.tinyssh import TinysshServer
from tests.support.waiting import DEADLINE, eventually_async
from tunnelctl.errors import Code
from tunnelctl.forward.remote import replies
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host
from tunnelctl.state.documents.snapshot import ForwardState, HostState, ProfileState
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message, Reader

ECHO = Endpoint(LOOPBACK, 7)
INTERVAL = 0.2  # seconds
UNIX = Endpoint(path="/tmp/nowhere.sock")


class Deaf:
    """Echoes what comes through local forwards, refuses other channels, and answers no global
    request, as far as `knows` does not do that."""

    def __init__(self, knows: Callable[[Peer, str], None] = lambda _peer, _name: None) -> None:
        self.asked: list[str] = []
        self.signs = 0  # of life, that it gave
        self._knows = knows

    @property
    def signs_of_life(self) -> int:
        """How often it said anything to a client that asked whether it is there."""
        knows = self._knows is knows_none
        return self.asked.count("keepalive@openssh.com") if knows else self.signs

    def __call__(self, peer: Peer) -> None:
        while True:
            payload = peer.receive()
            reader = Reader(payload, 1)
            match payload[0]:
                case Message.GLOBAL_REQUEST:
                    name = reader.text()
                    self.asked.append(name)
                    self._knows(peer, name)
                case Message.CHANNEL_OPEN:
                    kind, number = reader.text(), reader.u32()
                    if kind == "direct-tcpip":
                        peer.send(messages.channel_open_confirmation(number, number, 65536, 32768))
                    else:
                        self.signs += 1
                        peer.send(messages.channel_open_failure(number, 3, "no such channel"))
                case Message.CHANNEL_DATA:
                    number = reader.u32()
                    peer.send(messages.channel_data(number, reader.string()))
                case Message.CHANNEL_CLOSE:
                    peer.send(messages.channel_close(reader.u32()))


def knows_none(peer: Peer, _name: str) -> None:
    """As TinySSH (RFC 4253 section 11.4)."""
    peer.send(bytes((Message.UNIMPLEMENTED,)) + messages.u32(peer.read))


async def _works(s: Scene) -> None:
    async with client(s.port("echo")) as one:
        assert await one.echo(b"over the link") == b"over the link"


async def _up(s: Scene, host: Host, *more: Forward) -> None:
    rules = (local("echo", target=ECHO), *more)
    await s.supervisor.up(s.profile(*rules, host=host), here())
    await s.until_host(HostState.UP)


@pytest.mark.parametrize("knows", [lambda _peer, _name: None, knows_none])
@pytest.mark.parametrize("listen", [Endpoint(LOOPBACK, 4000), UNIX])
async def test_local_forwards_go_on_where_remote_ones_are_not_answered(
    knows: Callable[[Peer, str], None], listen: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "_ASK_AFTER", 0.2)
    monkeypatch.setattr(replies, "_JUDGE_AFTER", 0.4)
    server = Deaf(knows)
    with ScriptedServer(server, version="Deaf_1") as scripted:
        async with scene() as s:
            host = scripted.host_with(name="server", server_alive_interval=INTERVAL, reconnect=SOON)
            await _up(s, host, remote("back", 4000, 9, listen=listen))
            status = await s.until_forward("back", ForwardState.FAILED)
            assert status.last_error is not None
            assert status.last_error.code == Code.FORWARD_DENIED
            kind = "streamlocal-forward@openssh.com" if listen.is_unix else "tcpip-forward"
            silent = f"does not answer the request {kind}"
            unknown = f"does not support the request {kind}"
            told = unknown if knows is knows_none else silent
            assert told in status.last_error.message
            assert "Deaf_1 may not support" in status.last_error.hint
            assert status.next_retry_at is None
            assert s.status().state is ProfileState.FAILED  # it is a required one
            await _works(s)
            # A dead one would be left after four questions.
            await eventually_async(lambda: server.signs_of_life > 6, "it is asked on and on")
            await _works(s)
            assert s.states("server").count(HostState.UP) == 1
            assert server.asked.count(kind) == 1


async def test_an_answer_that_comes_late_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "_ASK_AFTER", 0.1)
    monkeypatch.setattr(replies, "_JUDGE_AFTER", 0.2)
    peers: list[Peer] = []

    def late(peer: Peer, name: str) -> None:
        if name == "tcpip-forward":
            peers.append(peer)

    with ScriptedServer(Deaf(late)) as scripted:
        async with scene() as s:
            await _up(s, scripted.host_with(name="server"), remote("back", 4000, 9))
            await s.until_forward("back", ForwardState.FAILED)
            peers[0].send(bytes((Message.REQUEST_SUCCESS,)))
            assert (await s.until_forward("back", ForwardState.UP)).last_error is None
            await s.until(ProfileState.UP)


@pytest.mark.parametrize("count", [1, 3])
async def test_one_that_answers_no_keepalive_lives_and_is_missed_once_it_is_gone(
    count: int,
) -> None:
    """It answers only who asks for a channel."""
    server = Deaf()
    with ScriptedServer(server) as scripted:
        async with scene() as s:
            host = scripted.host_with(
                name="server", server_alive_interval=INTERVAL, server_alive_count_max=count
            )
            await _up(s, host)
            await eventually_async(lambda: server.signs > 2 * count + 2, "it is asked on and on")
            signs = server.signs
            s.supervisor.hurry("the network changed")
            await eventually_async(lambda: server.signs > signs + count + 1, "and after that")
            assert s.states("server").count(HostState.UP) == 1
            assert server.asked == ["keepalive@openssh.com"]  # it is not asked again and again


async def test_one_that_answers_nothing_any_more_is_gone() -> None:
    def script(peer: Peer) -> None:
        while True:
            peer.receive()

    with ScriptedServer(script) as scripted:
        async with scene() as s:
            host = scripted.host_with(name="server", server_alive_interval=INTERVAL, reconnect=SOON)
            await _up(s, host, remote("back", 4000, 9))

            def is_silent() -> bool:
                errors = [event.error for event in s.events if event.error is not None]
                return any(error.code == Code.PEER_SILENT for error in errors)

            await eventually_async(is_silent, "it is left")
            assert "back" not in [e.name for e in s.events if e.state == ForwardState.FAILED]


async def test_tinyssh(tmp_path: Path) -> None:
    with running(TinysshServer, tmp_path) as server:
        async with scene() as s:
            host = server.host(server_alive_interval=INTERVAL, reconnect=SOON)
            await s.supervisor.up(s.profile(remote("back", 4000, 9), host=host), here())
            status = await s.until_forward("back", ForwardState.FAILED)
            assert status.last_error is not None
            assert "does not support the request tcpip-forward" in status.last_error.message
            assert status.last_error.hint.startswith("tinyssh_")
            assert s.host_status().rtt_ms is not None
            assert s.states("server").count(HostState.UP) == 1


async def test_each_question_is_answered_by_tinyssh(tmp_path: Path) -> None:
    with running(TinysshServer, tmp_path) as server:
        async with reach() as r:
            link = await r.link(server.host())
            for _ in range(5):
                answered = asyncio.Event()
                link.connection.ask_for_sign(answered.set)
                async with asyncio.timeout(DEADLINE):
                    await answered.wait()
            link.liveness.ask_now()
            link.close()
            await link.wait_thread()
