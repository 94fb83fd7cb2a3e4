"""One member of etcd is lost, in each way, and no connection of a client ends: with leases of 5
(unless the machine is busy, TUNNELCTL_FLEET_LEASE), 8 and 15 seconds at the same time, each of a
fleet of its own in the same store.

A run of many turns (TUNNELCTL_FLEET_TURNS) hits every moment between two renewals.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.etcd import Member
from tests.support.fleet import LEASE, FleetScene, Machine, fleet_scene, loop_was_free, waits
from tests.support.leaks import nothing_left
from tests.support.services import connect
from tests.support.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

LEASES = sorted({LEASE, 8.0, 15.0})
LOST = 16.0  # seconds; longer than any of them may be served without a renewal
_TURNS = int(os.environ.get("TUNNELCTL_FLEET_TURNS", "1"))
_PROFILE = """\
version: 1
hosts: {here: {embedded: true}}
forwards: {own: {local: "${LOCAL}", to: "${OTHERS}:${TARGET}", probe: {type: none}, via: here}}
"""


@pytest.fixture(scope="module")
def running() -> Iterator[FleetScene]:
    """A machine for each lease, alone in its fleet."""
    with nothing_left(), fleet_scene(len(LEASES)) as scene:
        for machine, lease in zip(scene.machines, LEASES, strict=True):
            scene.configure(machine, lease)
            machine.world.profile("web", _PROFILE)
            file = machine.world.home / "fleet.yml"
            file.write_text(file.read_text().replace("fleet: test", f"fleet: with{lease:g}"))
            machine.start()
        yield scene
        loop_was_free(scene.machines)


@pytest.fixture
def fleets(running: FleetScene) -> FleetScene:
    """Every machine serves."""
    running.store.start()
    eventually(lambda: running.store.is_whole, "every member has caught up")
    for machine in running.machines:
        eventually(machine.is_up, f"{machine.name} is up", 3 * max(LEASES))
    return running


def stopped(member: Member) -> None:
    """Neither answers nor refuses: connections to it hang."""
    member.signal(signal.SIGSTOP)


def leader(scene: FleetScene) -> Member:
    """The member that all requests go through."""
    return scene.store.leader


def follower(scene: FleetScene) -> Member:
    """One that passes requests on."""
    chief = scene.store.leader
    return next(member for member in scene.store.members if member is not chief)


@waits
@pytest.mark.parametrize("turn", range(_TURNS))
@pytest.mark.parametrize("lose", [stopped, Member.kill])
@pytest.mark.parametrize("which", [leader, follower])
def test_no_connection_ends(
    fleets: FleetScene,
    which: Callable[[FleetScene], Member],
    lose: Callable[[Member], None],
    turn: int,
) -> None:
    tokens = [machine.fleet()["token"] for machine in fleets.machines]
    with ExitStack() as stack:
        clients = [stack.enter_context(greeted(machine)) for machine in fleets.machines]
        member = which(fleets)
        lose(member)
        end = time.monotonic() + LOST
        try:
            over = [ends(client, end) for client in clients]
            assert dict(zip(LEASES, over, strict=True)) == dict.fromkeys(LEASES, False)
            for client in clients:
                client.settimeout(LOST)
                client.sendall(b"here")
                assert client.recv(64) == b"here"
        finally:
            # It begins anew: one that goes on may revoke what was renewed (etcd issue 15247).
            member.kill()
    assert [machine.fleet()["token"] for machine in fleets.machines] == tokens


def ends(client: socket.socket, by: float) -> bool:
    """Whether its connection ends by then (time.monotonic)."""
    client.settimeout(max(0.1, by - time.monotonic()))
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def greeted(machine: Machine) -> socket.socket:
    """A client that was answered, and stays."""
    client = connect(machine.local)
    assert client.recv(64)
    return client
