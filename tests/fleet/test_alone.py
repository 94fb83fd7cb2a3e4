"""One machine: at its start without a store, when it keeps serving without one, and its metrics."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.daemon.conftest import Api
from tests.support.fleet import LEASE, FleetScene, fleet_scene, loop_was_free
from tests.support.leaks import nothing_left
from tests.support.services import connect
from tests.support.waiting import eventually
from tunnelctl.home.paths import Paths

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def alone() -> Iterator[FleetScene]:
    """A fleet of one machine that keeps serving, started while no member of etcd runs."""
    with nothing_left(), fleet_scene(1) as scene:
        (machine,) = scene.machines
        file = machine.world.home / "fleet.yml"
        file.write_text(file.read_text() + "on_store_loss: keep\n")
        for member in scene.store.members:
            member.kill()
        machine.start("--metrics", "0")
        yield scene
        loop_was_free(scene.machines)


def with_store(alone: FleetScene) -> None:
    """Start the store where it does not run, and have the profile up."""
    (machine,) = alone.machines
    alone.store.start()
    alone.store.wait()
    eventually(machine.is_up, "it is up", 3 * LEASE)


def test_without_a_store_at_its_start_it_stands_by_and_says_why(alone: FleetScene) -> None:
    (machine,) = alone.machines
    assert machine.fleet()["store"] == "lost"  # also before it was asked
    error = eventually(lambda: machine.profile()["last_error"], "it misses the store")
    assert (machine.profile()["state"], error["code"]) == ("standby", "store-lost")
    shown = machine.world.run("ps")
    assert "standby (store lost)" in shown.stdout
    assert shown.returncode == 1  # no machine is known to serve it
    assert "tunnelctl fleet status" in shown.stderr
    assert machine.world.run("fleet").returncode == 1


def test_it_takes_the_profile_once_the_store_is_there(alone: FleetScene) -> None:
    (machine,) = alone.machines
    with_store(alone)
    assert alone.asked() == machine.name
    refused = machine.world.run("fleet", "hand-over", "web")
    assert "no other machine could take it" in refused.stderr


def test_it_keeps_serving_without_the_store_and_says_that_it_is_not_sure(
    alone: FleetScene,
) -> None:
    (machine,) = alone.machines
    with_store(alone)
    token = machine.fleet()["token"]
    with connect(machine.local) as client:
        assert client.recv(64)
        for member in alone.store.members:
            member.signal(signal.SIGSTOP)
        try:
            eventually(lambda: machine.fleet()["role"] == "alone", "it is alone", 3 * LEASE)
            client.sendall(b"still here")
            assert client.recv(64) == b"still here"
            assert machine.profile()["state"] == "up"
        finally:
            for member in alone.store.members:
                member.signal(signal.SIGCONT)
        eventually(lambda: machine.fleet()["role"] == "holder", "it is sure again", 3 * LEASE)
        client.sendall(b"and here")
        assert client.recv(64) == b"and here"
    assert machine.fleet()["token"] >= token


def test_its_metrics_name_the_machine_that_holds_the_profile(alone: FleetScene) -> None:
    (machine,) = alone.machines
    with_store(alone)
    eventually(lambda: machine.fleet()["role"] == "holder", "it holds the profile", 3 * LEASE)
    paths = Paths.from_environ(machine.world.environ, machine.world.home)
    scraped = Api(paths.socket).ask("GET", "/metrics").body.decode()
    line = f'tunnelctl_fleet_holder{{machine="{machine.name}",profile="web"}} 1.0'
    assert line in scraped.splitlines()
