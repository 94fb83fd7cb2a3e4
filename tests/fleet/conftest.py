"""One fleet for the tests of a module: etcd, an sshd, and the daemons of its machines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fleet import FleetScene, fleet_scene, loop_was_free
from tests.support.leaks import nothing_left


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """The connections of a fleet that the tests of a module share change at any time; what is left
    is looked for once the fleet has ended."""


@pytest.fixture(scope="module")
def running_scene() -> Iterator[FleetScene]:
    """Two machines; the tests of a module leave them as they found them."""
    with nothing_left(), fleet_scene(2) as scene:
        scene.start()
        yield scene
        loop_was_free(scene.machines)


@pytest.fixture
def scene(running_scene: FleetScene) -> FleetScene:
    """The fleet in peace: one machine is up, the other stands by."""
    running_scene.start()
    return running_scene
