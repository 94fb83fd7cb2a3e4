"""A server that lets us in and answers no request for a port holds up no order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.supervisor.scene import Scene, local, remote, scene
from tests.support.here import here
from tests.support.hostile import Peer, ScriptedServer
from tests.support.waiting import eventually_async
from tunnelctl.state.documents.snapshot import ForwardState, ProfileState
from tunnelctl.wire.messages import Message

# A request has 15 s before its link is given up.
SOONER = 10.0


class Mute:
    """Reads what is asked; says `answer` to what it was asked for once `may_answer`."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.cancelled = threading.Event()

    def __call__(self, peer: Peer) -> None:
        while peer.expect(Message.GLOBAL_REQUEST).text() != "tcpip-forward":
            pass
        self.asked.set()
        self.may_answer.wait(60)
        peer.send(bytes((Message.REQUEST_SUCCESS,)))
        while peer.expect(Message.GLOBAL_REQUEST).text() != "cancel-tcpip-forward":
            pass
        self.cancelled.set()


@contextmanager
def mute() -> Iterator[tuple[Mute, ScriptedServer]]:
    script = Mute()
    with ScriptedServer(script) as server:
        try:
            yield script, server
        finally:
            script.may_answer.set()


async def _asked(s: Scene, script: Mute, server: ScriptedServer) -> None:
    """Bring up a remote forward and a local one, until the remote one was asked for."""
    host = server.host_with(name="server")
    await s.supervisor.up(s.profile(remote("back", 4000, 9), local(), host=host), here())
    await eventually_async(script.asked.is_set, "the port is asked for")


@pytest.mark.parametrize("drain", [0.0, 600.0])
async def test_down_does_not_wait_for_it(drain: float) -> None:
    with mute() as (script, server):
        async with scene() as s:
            await _asked(s, script, server)
            async with asyncio.timeout(SOONER):
                await s.supervisor.down("dev", drain)
            assert s.status().state is ProfileState.STOPPED


async def test_a_change_does_not_wait_for_it_and_what_was_asked_for_is_taken_back() -> None:
    with mute() as (script, server):
        async with scene() as s:
            await _asked(s, script, server)
            host = server.host_with(name="server")
            async with asyncio.timeout(SOONER):
                await s.supervisor.up(s.profile(local(), host=host), here())
            assert s.forward("web").state is ForwardState.UP
            script.may_answer.set()
            await eventually_async(script.cancelled.is_set, "it is taken back")
