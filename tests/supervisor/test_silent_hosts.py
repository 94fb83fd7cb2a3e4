"""Hosts whose servers are silent hold up nobody but themselves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.supervisor.scene import SOON, local, scene
from tests.support.here import here
from tests.support.hostile import HostileServer
from tests.support.silent import full_listener, mute_listener
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually_async
from tunnelctl.spec.host import Host, Reconnect
from tunnelctl.spec.profile import Profile
from tunnelctl.ssh.turns import AT_ONE_ADDRESS
from tunnelctl.state.documents.snapshot import HostState, ProfileState
from tunnelctl.supervisor.logins.handshakes import AT_WORK

EVERYWHERE = "0.0.0.0"
MANY = 60
assert MANY > 3 * AT_WORK


@contextmanager
def ignores() -> Iterator[int]:
    """SYNs get no answer, as behind a firewall that drops."""
    with full_listener(EVERYWHERE) as (_, port):
        yield port


@contextmanager
def says_nothing() -> Iterator[int]:
    """A server that takes connections and is silent."""
    with mute_listener(EVERYWHERE) as (_, port):
        yield port


@contextmanager
def says_its_version() -> Iterator[int]:
    """A server that begins as one should, and stops before its keys."""
    over = threading.Event()

    def begin(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-tired\r\n")
        over.wait()

    with HostileServer(begin, EVERYWHERE) as server:
        try:
            yield server.port
        finally:
            over.set()


def silent(port: int, many: int = MANY, address: str = "127.9.0.{}") -> Profile:
    """Hosts at so many addresses, where nobody gives up before the test is over."""
    hosts = tuple(
        Host(f"h{n}", address.format(n + 1), port, connect_timeout=600, reconnect=SOON)
        for n in range(many)
    )
    return Profile("silent", "silent.yaml", hosts, ())


@pytest.mark.parametrize("silence", [ignores, says_nothing, says_its_version])
async def test_a_good_host_comes_back_beside_many_silent_ones(
    silence: type[AbstractContextManager[int]],
) -> None:
    with silence() as port:
        async with scene() as s:
            await s.up(s.profile(local()))
            await s.supervisor.up(silent(port), here())
            await s.server.kill()
            await s.until_host(HostState.BACKOFF)
            await s.server.start()
            await s.until(ProfileState.UP)
            # And so does one that nobody has met before.
            await s.supervisor.up(s.profile(local("more"), name="more"), here())
            await s.until(ProfileState.UP, "more")
            hosts = s.status("silent").hosts
            assert {host.state for host in hosts} == {HostState.CONNECTING}
            assert not any(host.queued for host in hosts), "each has its own address"


async def test_who_waits_for_others_at_the_same_address_is_queued(sshd: OpenSSHServer) -> None:
    with says_nothing() as port:
        async with scene() as s:
            await s.supervisor.up(silent(port, AT_ONE_ADDRESS + 2, "127.9.0.1"), here())
            await eventually_async(
                lambda: sum(host.queued for host in s.status("silent").hosts) == 2,
                "two wait for the others",
            )
            good = sshd.host(name="good", reconnect=Reconnect(min=0.05, max=0.2))
            await s.up(Profile("good", "good.yaml", (good,), ()))
            assert not s.status("good").hosts[0].queued
