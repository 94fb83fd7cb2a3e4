"""A client that has gone keeps no place, whatever it waited for; one that has said all it has to
say, and waits for its answer, keeps its own."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from tests.supervisor.scene import Scene, local, scene
from tests.support.hostile import Peer, ScriptedServer
from tests.support.services import DEADLINE, ReplyAfterEndService, receive, reset
from tests.support.threads import in_thread
from tests.support.waiting import eventually_async
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import WhileDown
from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.wire import messages

MOST = 5
PATIENT = WhileDown(hold=600)


class SilentTarget:
    """A server whose targets never answer, until `answers`: then all that were asked for do."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = threading.Event()

    def __call__(self, peer: Peer) -> None:
        numbers = []
        for _ in range(MOST + 1):
            numbers.append(peer.asked_to_open())
            self.asked += 1
        self.answers.wait(DEADLINE)
        for number in numbers:
            peer.send(messages.channel_open_confirmation(number, number, 1 << 20, 1 << 14))
        # Whoever has gone is done with; the one that is there has asked.
        question = peer.expect(messages.Message.CHANNEL_DATA)
        number = question.u32()
        peer.send(messages.channel_data(number, b"to " + question.string()))
        peer.send(messages.channel_eof(number), messages.channel_close(number))
        peer.is_answered()


def listen_at(tmp_path: Path, kind: str) -> Endpoint:
    """Where clients of this kind come."""
    return Endpoint(path=str(tmp_path / "s")) if kind == "unix" else Endpoint(LOOPBACK, 0)


def come(s: Scene, question: bytes = b"") -> socket.socket:
    """A client, that has asked its question and no more to say."""
    listen = s.forward("web").listen
    if "/" in listen:
        client = socket.socket(socket.AF_UNIX)
        client.connect(listen)
    else:
        client = socket.create_connection((LOOPBACK, s.port("web")))
    client.settimeout(DEADLINE)
    if question:
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
    return client


async def open_are(s: Scene, count: int) -> None:
    await eventually_async(
        lambda: s.forward("web").connections_open == count, f"{count} connections are open"
    )


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_target_that_never_answers(tmp_path: Path, kind: str) -> None:
    script = SilentTarget()
    listen = listen_at(tmp_path, kind)
    with ScriptedServer(script) as server:
        async with scene() as s:
            rule = local(target=Endpoint("10.9.9.9", 80), max_connections=MOST, listen=listen)
            await s.up(s.profile(rule, host=server.host_with(name="server")))
            gone = [come(s) for _ in range(MOST)]
            await eventually_async(lambda: script.asked == MOST, "all wait for the target")
            for client in gone:
                reset(client)
            await open_are(s, 0)
            with come(s, b"the one") as patient:
                await eventually_async(lambda: script.asked == MOST + 1, "it waits, too")
                assert s.forward("web").connections_open == 1
                script.answers.set()
                answer = await in_thread(receive, patient)
                assert (answer.size, answer.end) == (len(b"to the one"), "fin")
            await open_are(s, 0)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_port_that_is_held(tmp_path: Path, kind: str) -> None:
    listen = listen_at(tmp_path, kind)
    with ReplyAfterEndService(lambda asked: b"to " + asked) as service:
        async with scene() as s:
            target = Endpoint(LOOPBACK, service.port)
            rule = local(target=target, max_connections=MOST, while_down=PATIENT, listen=listen)
            await s.up(s.profile(rule))
            await s.server.kill()
            await s.until_host(HostState.BACKOFF)
            gone = [come(s) for _ in range(MOST - 1)]
            with come(s, b"the one") as patient:
                await open_are(s, MOST)
                for client in gone:
                    reset(client)
                await open_are(s, 1)
                assert s.forward("web").failures == (("session-lost", MOST - 1),)
                await s.server.start()
                answer = await in_thread(receive, patient)
                assert (answer.size, answer.end) == (len(b"to the one"), "fin")


async def test_who_waits_behind_others_is_turned_away_in_time() -> None:
    """The first in line leaves; those behind it still have their own time."""
    async with scene() as s:
        rule = local(while_down=WhileDown(hold=0.5))
        await s.up(s.profile(rule))
        await s.server.kill()
        await s.until_host(HostState.BACKOFF)
        first, second = come(s), come(s)
        with second:
            await open_are(s, 2)
            reset(first)
            await open_are(s, 0)
            assert (await in_thread(receive, second)).end == "reset"
