"""The soak, for a short while: its faults, its clients and what it holds the daemon to are real."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from benchmarks.soak.ledger import Ledger
from benchmarks.soak.network import lower_metric, own_network, raise_metric
from benchmarks.soak.report import document, judged, percentile, text
from benchmarks.soak.run import Census, Recovery, Soak, soak
from benchmarks.soak.scene import Settings

_SECONDS = float(os.environ.get("TUNNELCTL_SOAK_SECONDS", "20"))
# What a silent peer takes is waited for often, so it is short here.
_SETTINGS = Settings(interval=1.0, count=2, reconnect_max=1.0)
_BUSY = 5.0  # times a limit, beside other tests


@pytest.mark.long
@pytest.mark.timeout(_SECONDS + 180)
def test_faults_at_random() -> None:
    told: list[str] = []
    found = soak(_SETTINGS, _SECONDS, seed=os.getpid(), say=told.append)
    # pytest shows it when it fails, with the seed that makes the same order again.
    print(text(found), *told, sep="\n")
    assert judged(found, times=_BUSY) == []
    assert len(found.recoveries) >= _SECONDS / 20
    assert len(found.censuses) == len(found.recoveries) + 1
    assert found.ledger.connections > 0
    assert found.ledger.bytes > 0
    assert found.answers


def test_routes_are_changed_in_a_network_of_its_own() -> None:
    before = _network()
    with own_network() as own:
        if not own:
            pytest.skip("no network namespaces here (root, iproute2, CAP_SYS_ADMIN)")
        assert _network() != before
        assert _first_default_route() == "cable"
        raise_metric()
        assert _first_default_route() == "wifi"
        lower_metric()
        assert _first_default_route() == "cable"
    assert _network() == before


def _network() -> str:
    return os.readlink("/proc/thread-self/ns/net")


def _first_default_route() -> str:
    """The link that a packet to elsewhere takes."""
    command = ["ip", "route", "get", "192.0.2.1"]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return words[words.index("dev") + 1]


def made(**changes: object) -> Soak:
    """A soak of which all is well."""
    found = Soak(_SETTINGS, seed=1, seconds=60.0, answers=[0.001] * 100)
    found.recoveries = [Recovery("network: down", 1.0, 1.0, 1.5, 0.5, lost=True)] * 10
    found.censuses = [Census(1, 15, 3, 70_000_000)] * 11
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_what_is_well_is_not_complained_of() -> None:
    assert judged(made()) == []
    assert "nothing was violated" in text(made())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answers": [0.001] * 97 + [0.3] * 3}, "answer of the control socket: p99 0.30 s"),
        (
            {"recoveries": [Recovery("x", 80.0, 1.0, 1.0, None, lost=True)]},
            "no client was served: p99 80.00 s",
        ),
        (
            {"recoveries": [Recovery("x", 5.0, 1.0, 1.0, 2.5, lost=True)] * 3},
            "reconnect after the server is back: p50 2.50 s",
        ),
    ],
)
def test_what_was_promised_and_not_kept_is_said(changes: dict[str, object], said: str) -> None:
    (violation,) = judged(made(**changes))
    assert violation.startswith(said)
    assert f"violated: {violation}" in text(made(**changes))


def test_another_byte_is_a_violation() -> None:
    ledger = Ledger()
    ledger.foreign("local", "in 10 bytes")
    assert document(made(ledger=ledger))["wrong"] == 1
    assert len(judged(made(ledger=ledger))) == 1


def test_the_document_is_json() -> None:
    assert json.loads(json.dumps(document(made())))["by_fault"]["network: down"]["count"] == 10


def test_percentiles_are_values_that_there_were() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 0.5) == 50.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0
