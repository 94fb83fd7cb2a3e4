"""Several hosts of one server: whoever gets through has the others try."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace

from tests.supervisor.scene import LATE, scene
from tests.support.here import here
from tests.support.patient import Patient
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host, Reconnect
from tunnelctl.spec.profile import Profile
from tunnelctl.state.documents.snapshot import HostState, ProfileState
from tunnelctl.state.host.machine import Machine
from tunnelctl.supervisor.logins.neighbours import Neighbours

BASTION = Host("bastion", "bastion.example")


async def test_one_host_that_gets_through_is_enough_for_all() -> None:
    async with scene(random=Patient()) as s:
        await s.server.kill()
        hosts = tuple(replace(s.host(reconnect=LATE), name=f"h{n}") for n in range(8))
        scout = replace(s.host(reconnect=Reconnect(min=0.1, max=0.1)), name="scout")
        await s.supervisor.up(Profile("dev", "dev.yaml", (*hosts, scout), ()), here())
        for host in hosts:
            await s.until_host(HostState.BACKOFF, host.name)
        await s.server.start()
        await s.until(ProfileState.UP)


def waiting(code: Code, retry_at: float = 60.0) -> Machine:
    failure = Failure(code, "why it waits")
    return Machine(state=HostState.BACKOFF, failure=failure, retry_at=retry_at)


def woken(neighbours: Neighbours, host: Host, machines: Mapping[str, Machine]) -> list[str]:
    """Which of these hosts of one server are woken, and in which order, when it is reached."""
    names: list[str] = []
    for name, machine in machines.items():
        neighbours.changed(host, machine, functools.partial(names.append, name))
    neighbours.reached(host)
    return names


def test_two_are_woken_at_a_time_those_first_that_would_wait_longest() -> None:
    refused = {name: waiting(Code.CONNECTION_REFUSED, at) for name, at in (("a", 5), ("b", 9))}
    refused["c"] = waiting(Code.TIMED_OUT, 7)
    assert woken(Neighbours(), BASTION, refused) == ["b", "c"]


def test_a_host_that_was_turned_away_is_not_woken() -> None:
    """Two whose links break by turns would keep each other awake, without any backoff."""
    for code in (Code.HANDSHAKE_FAILED, Code.SESSION_LOST, Code.PEER_SILENT):
        assert woken(Neighbours(), BASTION, {"a": waiting(code)}) == []


def test_who_does_not_wait_any_more_is_not_woken() -> None:
    neighbours, names = Neighbours(), list[str]()
    wake = functools.partial(names.append, "a")
    neighbours.changed(BASTION, waiting(Code.CONNECTION_REFUSED), wake)
    neighbours.changed(BASTION, Machine(state=HostState.CONNECTING), wake)
    neighbours.reached(BASTION)
    assert names == []


def test_another_server_is_another_matter() -> None:
    neighbours, names = Neighbours(), list[str]()
    wake = functools.partial(names.append, "a")
    neighbours.changed(BASTION, waiting(Code.CONNECTION_REFUSED), wake)
    for other in (replace(BASTION, port=2222), replace(BASTION, proxy_jump=(BASTION,))):
        neighbours.reached(other)
    assert names == []
