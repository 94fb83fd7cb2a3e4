"""Which changes in the store make a machine look at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunnelctl.fleet.records import FleetView, Keys, RegisteredMachine, encoded, last_value

KEYS = Keys("prod")
M1 = RegisteredMachine("m1", 11, "1.0", "10.0.0.1", 0.5, {"web": "aa"})
M2 = RegisteredMachine("m2", 12, "1.0", "10.0.0.2", 0.7, {"web": "aa"})
VIEW = FleetView(9, machines=(M1, M2))


def put(key: str, value: bytes, lease: int = 0) -> dict[str, Any]:
    """An event of a watch, as etcd's gateway writes it; PUT is the default, and left out."""
    return {"kv": {"key": encoded(key), "value": encoded(value), "lease": str(lease)}}


def of_machine(machine: RegisteredMachine) -> dict[str, Any]:
    return put(KEYS.machine(machine.lease), machine.value(), machine.lease)


def test_a_round_trip_that_a_machine_reports_is_no_news() -> None:
    reported = replace(M1, round_trip_ms=3.25)
    known = put(KEYS.known("m1"), replace(reported, digests={}).value(), 77)
    assert not KEYS.is_news(VIEW, [of_machine(reported), known])
    assert not KEYS.is_news(VIEW, [])


@pytest.mark.parametrize(
    "event",
    [
        of_machine(replace(M1, digests={"web": "bb"})),
        of_machine(replace(M1, digests={})),
        of_machine(replace(M1, version="1.1")),
        of_machine(replace(M1, address="10.0.0.9")),
        of_machine(replace(M1, lease=13)),
        of_machine(RegisteredMachine("m3", 14)),
        {"type": "DELETE", "kv": {"key": encoded(KEYS.machine(11)), "mod_revision": "10"}},
        {"type": "DELETE", "kv": {"key": encoded(KEYS.profile("web")), "mod_revision": "10"}},
        put(KEYS.profile("web"), b"{}", 11),
        put(KEYS.released("web"), b"{}"),
        put(KEYS.file("web"), last_value("m1", "bb")),
        put(KEYS.machine(11), b"what a person wrote", 11),
        {},
    ],
)
def test_all_else_is(event: dict[str, Any]) -> None:
    assert KEYS.is_news(VIEW, [of_machine(M2), event])
