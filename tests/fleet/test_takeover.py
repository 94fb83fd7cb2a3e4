"""Two machines with real etcd members: who holds a profile, and when another takes it."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.fleet import LEASE, FleetScene, Machine, waits
from tests.support.services import connect
from tests.support.waiting import eventually
from tests.support.wall_clock import WallClock

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
# How long a process is stopped at least.
_STOPPED = float(os.environ.get("TUNNELCTL_FLEET_STOPPED_SECONDS", "0"))
_SOON = 3 * LEASE  # generous: what is waited for ends at a lease and a little


def greeted(port: int) -> socket.socket:
    """A client that was answered, and stays."""
    client = connect(port)
    assert client.recv(64).startswith(b"m")
    return client


def is_reset(client: socket.socket) -> bool:
    """Whether the client's connection ends with a reset, and brings no byte."""
    try:
        return client.recv(1) == b"never"
    except ConnectionResetError:
        return True


def test_one_machine_serves_and_the_other_stands_by(scene: FleetScene) -> None:
    holder = scene.holder
    (other,) = scene.others(holder)
    assert scene.asked() == holder.name
    fleet = holder.fleet()
    assert (fleet["role"], fleet["store"]) == ("holder", "ok")
    assert other.fleet() == {**fleet, "machine": other.name, "role": "standby"}
    shown = other.world.run("ps")
    assert f"standby (on {holder.name})" in shown.stdout
    assert shown.returncode == 0
    value, revision = scene.store.get(f"/tunnelctl/{scene.name}/web") or ("", 0)
    assert (json.loads(value)["machine"], revision) == (holder.name, fleet["token"])


def test_doctor_leaves_the_holder_alone_and_names_what_frees_ports(scene: FleetScene) -> None:
    holder = scene.holder
    for machine in scene.machines:
        report = json.loads(machine.world.ok("doctor", "web", "--json"))
        steps = {(step["step"], step["subject"]): step for step in report["steps"]}
        permission = steps["permission", "shared"]
        asked = "ok" if machine is holder else "skipped"
        assert (steps["daemon", "web"]["result"], permission["result"]) == ("ok", asked)
        assert machine is holder or holder.name in permission["message"]
        hint = steps["take-over", "server"]["hint"]
        assert "ClientAliveInterval 5 and ClientAliveCountMax 2" in hint
    assert scene.asked() == holder.name


def test_the_fleet_is_shown(scene: FleetScene) -> None:
    holder = scene.holder
    found = json.loads(holder.world.ok("fleet", "--json"))["fleet"]
    assert found["store"]["quorum"]
    assert [member["leader"] for member in found["store"]["members"]].count(True) == 1
    assert [machine["name"] for machine in found["machines"]] == ["m1", "m2"]
    (profile,) = found["profiles"]
    assert (profile["name"], profile["holder"]) == ("web", holder.name)
    assert "web" in scene.others(holder)[0].world.ok("fleet", "status")


@waits
def test_a_killed_machine_is_replaced_and_the_token_grows(scene: FleetScene) -> None:
    holder = scene.holder
    token = holder.fleet()["token"]
    holder.end()
    taker = scene.taker(holder, _SOON)
    assert taker.fleet()["token"] > token
    assert shows(taker, {holder.name: False, taker.name: True})
    eventually(lambda: scene.asked() == taker.name, "clients reach the successor")


def shows(machine: Machine, alive: dict[str, bool]) -> bool:
    """Waits until `fleet` on a machine shows these machines, and whether each is alive."""

    def found() -> bool:
        machines = json.loads(machine.world.ok("fleet", "--json"))["fleet"]["machines"]
        return {one["name"]: one["alive"] for one in machines} == alive

    return eventually(found, f"the machines {alive}")


def test_an_orderly_end_gives_up_before_the_lease_ends(scene: FleetScene) -> None:
    holder = scene.holder
    client = greeted(scene.remote)
    holder.signal(signal.SIGTERM)
    taker = scene.taker(holder, LEASE - 1)  # sooner than any lease
    with client:
        assert is_reset(client) or not client.recv(1)
    assert taker.fleet()["role"] == "holder"
    assert holder.process is not None
    holder.process.communicate(timeout=15)
    holder.process = None
    assert shows(taker, {taker.name: True})


def test_hand_over_moves_a_profile_and_it_stays_there(scene: FleetScene) -> None:
    holder = scene.holder
    (other,) = scene.others(holder)
    done = other.world.run("fleet", "hand-over", "web")
    assert done.returncode == 1
    assert f"{holder.name} holds it" in done.stderr
    holder.world.ok("fleet", "hand-over", "web")
    eventually(other.is_up, "the other machine is up")
    eventually(lambda: scene.asked() == other.name, "clients reach it")
    assert holder.fleet()["role"] == "standby"


@waits
def test_a_stopped_process_that_goes_on_passes_no_byte(scene: FleetScene) -> None:
    """It finds its deadline passed before it handles what clients sent meanwhile."""
    holder = scene.holder
    with greeted(holder.local) as own:
        began = time.monotonic()
        holder.signal(signal.SIGSTOP)
        try:
            taker = scene.taker(holder, _SOON)
            own.sendall(b"too late")
            own.settimeout(max(0.1, began + _STOPPED - time.monotonic()))
            with pytest.raises(TimeoutError):
                own.recv(1)
            eventually(lambda: scene.asked() == taker.name, "clients reach the successor")
        finally:
            holder.signal(signal.SIGCONT)
        own.settimeout(_SOON)
        assert is_reset(own)
    eventually(lambda: holder.fleet()["role"] == "standby", "it stands by")
    assert taker.is_up()
    assert refuses(holder)


def refuses(machine: Machine) -> bool:
    """Whether nothing listens at its local port."""
    try:
        connect(machine.local).close()
    except ConnectionRefusedError:
        return True
    return False


@waits
def test_a_machine_without_etcd_closes_everything_before_another_opens(scene: FleetScene) -> None:
    holder = scene.holder
    with greeted(holder.local) as own:
        for proxy in holder.to_store:
            proxy.stall()
        try:
            assert is_reset(own)
            status = holder.profile()
            assert status["fleet"]["store"] == "lost"
            assert status["last_error"]["code"] == "store-lost"
            assert status["state"] in ("standby", "stopping")
            taker = scene.taker(holder, _SOON)
            assert refuses(holder)
        finally:
            for proxy in holder.to_store:
                proxy.flow()
    eventually(lambda: holder.fleet()["holder"] == taker.name, "it knows the new holder")


@waits
def test_a_time_of_day_that_is_set_changes_nothing(scene: FleetScene, tmp_path: Path) -> None:
    clock, holder = WallClock(tmp_path), scene.holder
    (taker,) = scene.others(holder)
    before = dict(taker.world.environ)
    taker.end()
    taker.world.environ.update(clock.environ)
    taker.world.unwatch()  # the library makes its loop slow
    try:
        taker.start()
        scene.settle()
        holder.world.ok("fleet", "hand-over", "web")
        eventually(taker.is_up, "the machine whose clock is set is up")
        token = taker.fleet()["token"]
        with greeted(taker.local) as own:
            own.settimeout(LEASE / 2)  # both are longer than without a renewal
            for seconds in (86_400, -86_400):
                clock.jump(seconds)
                with pytest.raises(TimeoutError):
                    own.recv(1)
        assert taker.fleet()["token"] == token
        taker.world.ok("fleet", "hand-over", "web")
        since = datetime.fromisoformat(taker.profile()["since"])
        assert datetime.now(UTC) - since > timedelta(hours=12), "its clock was really set"
    finally:
        taker.end()
        taker.world.environ.clear()
        taker.world.environ.update(before)


@waits
def test_without_a_quorum_everything_is_closed_and_back_after_it(scene: FleetScene) -> None:
    holder = scene.holder
    lost = [member for member in scene.store.members if not member.is_leader]
    with greeted(holder.local) as own:
        for member in lost:
            member.kill()
        try:
            own.settimeout(LEASE + 1)
            assert is_reset(own)
        finally:
            scene.store.start(*lost)
            scene.store.wait()
    eventually(lambda: scene.is_settled, "one is up again", 3 * LEASE)


def test_a_file_that_differs_is_taken_once_a_person_says_that_it_counts(scene: FleetScene) -> None:
    holder = scene.holder
    (other,) = scene.others(holder)
    file = other.world.configs / "web.yaml"
    before = file.read_text()
    other.world.ok("up", "-d", "web")  # the same file: nothing new
    file.write_text(f"{before}# changed\n")
    try:
        assert "on standby, read again: web" in other.world.run("reload").stderr
        eventually(lambda: not may_take(other, holder), "the fleet knows that its file differs")
        refused = holder.world.run("fleet", "hand-over", "web")
        assert "no other machine could take it" in refused.stderr
        assert holder.is_up()
        other.world.ok("up", "-d", "web")
        eventually(lambda: may_take(other, holder), "the fleet knows that its file counts")
        holder.world.ok("fleet", "hand-over", "web")
        eventually(other.is_up, "the other machine is up")
    finally:
        file.write_text(before)
    other.world.ok("reload")
    eventually(lambda: may_take(holder, holder), "the files are equal")


def may_take(machine: Machine, asked: Machine) -> bool:
    """Whether a machine may take the profile, as far as the one that is asked knows."""
    (profile,) = json.loads(asked.world.ok("fleet", "--json"))["fleet"]["profiles"]
    return machine.name in profile["candidates"]


@waits
def test_a_machine_whose_file_differs_takes_nothing_and_says_so(scene: FleetScene) -> None:
    holder = scene.holder
    (other,) = scene.others(holder)
    file = other.world.configs / "web.yaml"
    before = file.read_text()
    file.write_text(f"{before}# changed\n")
    try:
        other.world.ok("reload")
        eventually(
            lambda: (other.profile()["last_error"] or {}).get("code") == "config-invalid",
            "it says that its file differs",
        )
        assert f"differs from that of {holder.name}" in other.profile()["last_error"]["message"]
        holder.end()
        eventually(lambda: other.fleet()["holder"] is None, "the key is gone", _SOON)
        assert other.profile()["state"] == "standby"
        assert not other.is_up()
    finally:
        file.write_text(before)
    other.world.ok("reload")
    eventually(other.is_up, "with the same file it takes over")


@waits
def test_the_port_of_a_session_that_sshd_misses_is_asked_for_again(scene: FleetScene) -> None:
    """The last holder can reach neither etcd nor sshd, which keeps its session for seconds."""
    holder = scene.holder
    for proxy in (holder.to_server, *holder.to_store):
        proxy.stall()
    try:
        taker = scene.taker(holder, 2 * _SOON)
        eventually(lambda: scene.asked() == taker.name, "clients reach the successor")
    finally:
        for proxy in (holder.to_server, *holder.to_store):
            proxy.flow()
    eventually(lambda: holder.fleet()["holder"] == taker.name, "it knows the new holder")


def test_down_ends_a_candidacy_until_up(scene: FleetScene) -> None:
    holder = scene.holder
    holder.world.ok("down", "web")
    taker = scene.taker(holder, LEASE - 1)
    assert holder.profile()["state"] == "stopped"
    assert holder.world.run("up", "web").returncode == 2  # a command cannot hold it
    holder.world.ok("up", "-d", "web")
    assert holder.profile()["state"] == "standby"
    assert taker.is_up()
