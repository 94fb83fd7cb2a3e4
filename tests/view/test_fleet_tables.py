"""The tables of `fleet`."""

from __future__ import annotations

from typing import Any

from tunnelctl.view import fleet_tables


def test_the_next_machine_is_the_first_candidate_that_does_not_hold_the_profile() -> None:
    profile: dict[str, Any] = {
        "name": "web",
        "holder": "m1",
        "token": 7,
        "since": "2030-01-01T00:00:00Z",
        "candidates": ["m1", "m3", "m2"],
    }
    cells = fleet_tables.PROFILES.cells(profile)
    assert cells == ("web", "m1", "7", "2030-01-01T00:00:00Z", "m3")
    nobody = profile | {"holder": None, "token": None, "since": None, "candidates": []}
    assert fleet_tables.PROFILES.cells(nobody) == ("web", "-", "-", "-", "-")


def test_a_machine_shows_the_round_trip_to_its_store() -> None:
    machine: dict[str, Any] = {
        "name": "m1",
        "alive": True,
        "version": "1.2.0",
        "address": "",
        "round_trip_ms": 1.84,
        "profiles": ["db", "web"],
        "differs": [],
    }
    cells = fleet_tables.MACHINES.cells(machine)
    assert cells == ("m1", "alive", "1.2.0", "-", "1.8 ms", "db, web", "-")


def test_a_member_of_etcd_that_does_not_answer_shows_the_error() -> None:
    member = {"endpoint": "https://10.0.0.1:2379", "name": "", "version": "", "leader": False}
    cells = fleet_tables.MEMBERS.cells(member | {"error": "connection refused"})
    assert cells[1:] == ("-", "-", "connection refused")
    assert fleet_tables.MEMBERS.cells(member | {"error": None, "leader": True})[-1] == "leader"
