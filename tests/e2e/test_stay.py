"""An attached command whose profiles ended while it did something else: before it began to wait."""

from __future__ import annotations

import secrets

import pytest

from tests.support.profiles import EMBEDDED
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.cli.running.holding import CheckedProfile, Holding
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths
from tunnelctl.spec.environment import Environment
from tunnelctl.state.documents.status_events import StatusEvent


def test_it_ends_when_its_time_was_up_and_every_event_was_read(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    file = world.profile("dev", EMBEDDED)
    client = Client(Paths.from_environ(world.environ, world.home))
    world.ok("up", "dev", "-d")
    world.ok("down", "dev")  # the daemon stays
    seen: list[str] = []

    def tells(event: StatusEvent) -> bool:
        seen.append(f"{event.kind} {event.state}")
        return False

    lease = secrets.token_hex(16)
    environment = Environment(world.environ)
    plans = [CheckedProfile("dev", str(file), environment, frozenset())]
    with client.events(lease, [], profiles=["dev"], orders=True) as stream:
        session = Holding(client, stream, plans, lease, tells=tells)
        session.bring_up(30, ttl=0.3)

        def is_read() -> bool:
            session.settle(0.05)
            return "profile stopped" in seen

        eventually(is_read, "every event was read")
        assert session.stay() == 0
    said = capsys.readouterr().err
    assert said.count("its time is up") == 1
    assert "Ready" not in said
