"""A holder whose network is gone without a word: its packets are dropped, and nothing is reset."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fleet import LEASE, FleetScene, fleet_scene, loop_was_free, waits
from tests.support.leaks import nothing_left
from tests.support.namespaces import Namespace, namespace
from tests.support.services import connect
from tests.support.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


@pytest.fixture
def network() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@pytest.fixture
def apart(network: Namespace) -> Iterator[FleetScene]:
    """Two machines; the first one is in a namespace, and holds the profile."""
    with nothing_left(), fleet_scene(2, network=network) as scene:
        scene.start()
        first, second = scene.machines
        if second.is_up():
            second.world.ok("fleet", "hand-over", "web")
            eventually(first.is_up, "the first machine is up")
            scene.settle()
        yield scene
        loop_was_free(scene.machines)


@waits
def test_a_holder_whose_packets_are_dropped(apart: FleetScene, network: Namespace) -> None:
    first, second = apart.machines
    token = first.fleet()["token"]
    with connect(apart.remote) as client:
        assert client.recv(64).startswith(b"m1")
        network.swallow()
        taker = apart.taker(first, 3 * LEASE)
        assert taker is second
        eventually(lambda: apart.asked() == "m2", "clients reach the successor")
        # It closed everything before, by itself: nobody could tell it.
        status = first.profile()
        assert status["fleet"]["store"] == "lost"
        assert status["state"] in ("standby", "stopping")
        assert second.fleet()["token"] > token
        network.let_through()
        eventually(lambda: first.fleet()["holder"] == "m2", "it knows the new holder")
