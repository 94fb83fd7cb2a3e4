"""`links: N`: more links to a host while all are busy, and what becomes of each."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.supervisor.questioning import DEV, PASSPHRASE, RIGHT, Strict, question_in
from tests.supervisor.scene import SOON, Client, Scene, client, local, remote, scene
from tests.support.here import here
from tests.support.ports import free_port
from tests.support.services import EchoService, SinkService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually_async
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host
from tunnelctl.state.documents.snapshot import ForwardState, HostState, ProfileState
from tunnelctl.state.documents.status_events import QuestionEvent
from tunnelctl.supervisor.records.connection_list import WantedConnections

MUCH = bytes(64 * 1024)


@pytest.fixture
def forwards() -> Iterator[tuple[Forward, Forward]]:
    """`echo` leads to an echo service, `sink` to one that reads."""
    with EchoService() as echo, SinkService() as sink:
        yield (
            local("echo", target=Endpoint(LOOPBACK, echo.port)),
            local("sink", target=Endpoint(LOOPBACK, sink.port)),
        )


def two_links(sshd: OpenSSHServer, **changes: Any) -> Host:
    return sshd.host(links=2, reconnect=SOON, **changes)


@asynccontextmanager
async def bulk(s: Scene) -> AsyncIterator[None]:
    """A connection that sends as much as it can."""
    _, writer = await asyncio.open_connection(LOOPBACK, s.port("sink"))

    async def send() -> None:
        while True:
            writer.write(MUCH)
            await writer.drain()

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        writer.transport.abort()


@asynccontextmanager
async def echoing(s: Scene) -> AsyncIterator[Client]:
    """A connection that was answered once."""
    async with client(s.port("echo")) as one:
        assert await one.echo(b"hello") == b"hello"
        yield one


async def until_links(s: Scene, *channels: int) -> None:
    """Wait until there are so many links, with so many channels each."""

    def seen() -> tuple[int, ...]:
        return tuple(link.channels for link in s.host_status().links)

    await eventually_async(lambda: seen() == channels, f"links with {channels} channels")


async def until_told(s: Scene, words: str) -> None:
    """Wait until an event of the host has these words."""
    await eventually_async(
        lambda: any(words in event.message for event in s.events if event.name == "server"), words
    )


async def test_a_host_has_one_link_by_default(
    sshd: OpenSSHServer, forwards: tuple[Forward, ...]
) -> None:
    async with scene() as s:
        await s.up(s.profile(*forwards, host=sshd.host(reconnect=SOON)))
        async with bulk(s):
            before = s.forward("sink").bytes_out
            # So much takes several looks.
            await eventually_async(
                lambda: s.forward("sink").bytes_out > before + 512 * 1024 * 1024, "much is sent"
            )
            assert [link.channels for link in s.host_status().links] == [1]
        assert len(sshd.connections) == 1


async def test_a_busy_link_gets_another_beside_it_which_takes_the_next_connection(
    sshd: OpenSSHServer, forwards: tuple[Forward, ...]
) -> None:
    async with scene() as s:
        await s.up(s.profile(*forwards, host=two_links(sshd)))
        async with bulk(s):
            await until_links(s, 1, 0)
            async with echoing(s):
                assert [link.channels for link in s.host_status().links] == [1, 1]
                found = (await s.supervisor.connections(WantedConnections())).connections
                assert {one.forward: one.link for one in found} == {"sink": 1, "echo": 2}
            await until_links(s, 1, 0)
            # Both are busy, and there are no more than two.
            async with bulk(s):
                await until_links(s, 1, 1)
                async with bulk(s), echoing(s):
                    channels = [link.channels for link in s.host_status().links]
                    assert (len(channels), sum(channels)) == (2, 4)
        assert len(sshd.connections) == 2
        assert s.host_status().reconnects == 0


async def test_an_extra_link_that_carries_nothing_is_closed_after_idle_timeout(
    sshd: OpenSSHServer, forwards: tuple[Forward, ...]
) -> None:
    async with scene() as s:
        await s.up(s.profile(*forwards, host=two_links(sshd, idle_timeout=1)))
        async with bulk(s):
            await until_links(s, 1, 0)
        await until_links(s, 0)
        await eventually_async(lambda: len(sshd.connections) == 1, "its session has ended")
        assert s.host_status().state is HostState.UP


async def test_when_the_first_link_is_lost_another_takes_over_and_its_connections_go_on(
    sshd: OpenSSHServer, forwards: tuple[Forward, ...]
) -> None:
    back = free_port()
    target = forwards[0].target
    assert target is not None
    async with scene() as s:
        await s.up(s.profile(*forwards, remote("back", back, target.port), host=two_links(sshd)))
        async with bulk(s):
            await until_links(s, 1, 0)
            async with echoing(s) as one:
                for pid in sshd.connections[0]:
                    os.kill(pid, signal.SIGKILL)
                await eventually_async(lambda: s.host_status().reconnects == 1, "taken over")
                assert await one.echo(b"goes on") == b"goes on"
                await s.until_forward("back", ForwardState.UP)
                async with client(back) as far:
                    assert await far.echo(b"moved") == b"moved"
        # The host was up all the time, and says what happened.
        assert s.states("server").count(HostState.CONNECTING) == 1
        await until_told(s, "lost one of several links")


async def test_a_lost_extra_link_is_told_and_another_is_made(
    sshd: OpenSSHServer, forwards: tuple[Forward, ...]
) -> None:
    async with scene() as s:
        await s.up(s.profile(*forwards, host=two_links(sshd)))
        async with bulk(s):
            await until_links(s, 1, 0)
            async with echoing(s) as one:
                for pid in sshd.connections[-1]:
                    os.kill(pid, signal.SIGKILL)
                assert await one.is_reset()
            await until_told(s, "lost one of several links")
            await until_links(s, 1, 0)
        assert s.host_status().reconnects == 0
        assert s.states("server").count(HostState.CONNECTING) == 1


async def test_a_link_that_is_refused_is_told_and_changes_nothing(
    sshd: OpenSSHServer, forwards: tuple[Forward, ...]
) -> None:
    async with scene() as s:
        await s.up(s.profile(*forwards, host=two_links(sshd)))
        sshd.authorized_keys.write_text("")
        async with bulk(s):
            await until_told(s, "cannot make another link")
            assert s.host_status().state is HostState.UP
            assert len(s.host_status().links) == 1


@pytest.mark.parametrize("remember", [False, True])
async def test_an_extra_link_asks_nobody_and_uses_what_is_remembered(
    forwards: tuple[Forward, ...], remember: bool
) -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        host = s.host(links=2, remember=remember)
        await s.supervisor.up(s.profile(*forwards, host=host), here())
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        async with bulk(s):
            if remember:
                await until_links(s, 1, 0)
            else:
                await until_told(s, "cannot make another link")
        assert strict.heard == [RIGHT, RIGHT if remember else None]
        asked = [e for e in s.events if isinstance(e, QuestionEvent) and e.state == "asked"]
        assert len(asked) <= 1
        subscription.close()


async def test_restart_and_down_end_all_links(
    sshd: OpenSSHServer, forwards: tuple[Forward, ...]
) -> None:
    async with scene() as s:
        await s.up(s.profile(*forwards, host=two_links(sshd)))
        async with bulk(s):
            await until_links(s, 1, 0)
            await s.supervisor.restart("dev")
            await s.until_told("server", HostState.UP, 2)
            await until_links(s, 0)
            await eventually_async(lambda: len(sshd.connections) == 1, "one session is left")
        async with bulk(s):
            await until_links(s, 1, 0)
            await s.supervisor.down("dev", 0)
            await eventually_async(lambda: not sshd.sessions, "no session is left")


async def test_another_number_of_links_disturbs_no_connection(
    sshd: OpenSSHServer, forwards: tuple[Forward, ...]
) -> None:
    async with scene() as s:
        host = two_links(sshd)
        await s.up(s.profile(*forwards, host=host))
        async with bulk(s):
            await until_links(s, 1, 0)
            async with echoing(s) as one:
                single = s.profile(*forwards, host=replace(host, links=1))
                await s.supervisor.up(single, here())
                assert await one.echo(b"goes on") == b"goes on"
                await until_links(s, 1)
            await eventually_async(lambda: len(sshd.connections) == 1, "the second link has ended")
