"""One daemon and one dashboard for the tests of a module: their start takes most of the time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dashboard.board import Board, dashboard
from tests.support.profiles import EMBEDDED
from tests.support.world import World, private_world


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """A world with `dev` up on the embedded server."""
    with private_world() as world:
        world.profile("dev", EMBEDDED)
        world.ok("up", "dev", "-d")
        yield world


@pytest.fixture(scope="module")
def board(shared_world: World) -> Iterator[Board]:
    """Its dashboard, logged in."""
    with dashboard(shared_world) as running:
        assert running.log_in().status == 303
        yield running
