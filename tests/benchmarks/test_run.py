"""A short run of the whole: every part works, every figure is there. Never how fast it was."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.effort import QUICK
from benchmarks.figures import AIMS, COMPILED, TUNNELCTL, figures
from benchmarks.runner import all_peers
from tests.support.processes import sees_all

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

# Every figure is measured for these: ours, that of OpenSSH, and none.
PEERS = [TUNNELCTL, "ssh", "direct"]
# One figure is enough to see that the others work. Without the one that has to be compiled first,
# which takes a minute.
OTHERS = [peer.name for peer in all_peers() if peer.name not in (*PEERS, COMPILED)]
ALL = set(figures(QUICK))
ONLY_TUNNELCTL = {"idle_memory", "idle_cpu"}
OF_A_PROCESS = {"up_cpu", "down_cpu", "sequence_cpu", "parallel_cpu"}
OF_A_TUNNEL = {"far_up", "far_down", "host_memory", "connection_memory"}
# A difference of two starts of a program: noise may outweigh the few hosts of a short run.
MAY_BE_NEGATIVE = {"host_memory", "connection_memory"}

Document = dict[str, Any]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run has left its results."""
    if not sees_all():
        pytest.skip("the daemon hides its memory from us: that takes CAP_SYS_PTRACE")
    return run(tmp_path_factory.mktemp("benchmarks"), PEERS)


@pytest.fixture(scope="module")
def document(output: Path) -> Document:
    """The same as JSON."""
    return read(output)


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The figures of one part for the other peers."""
    return read(run(tmp_path_factory.mktemp("echo"), OTHERS, "--only", "echo"))


def run(directory: Path, peers: Sequence[str], *more: str) -> Path:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(directory), *more]
    command += [word for peer in peers for word in ("--peer", peer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (directory / "results.md").read_text()
    return directory


def read(directory: Path) -> Document:
    document: Document = json.loads((directory / "results.json").read_text())
    return document


def expected(peer: str) -> set[str]:
    if peer == TUNNELCTL:
        return ALL
    if peer == "direct":
        return ALL - ONLY_TUNNELCTL - OF_A_PROCESS - OF_A_TUNNEL
    return ALL - ONLY_TUNNELCTL


@pytest.mark.parametrize("peer", PEERS)
def test_every_figure_of_a_peer_is_there_and_sane(document: Document, peer: str) -> None:
    assert peer not in document["missing"]
    assert not [text for text in document["failures"] if text.startswith(peer)]
    of_peer = {
        key: figure["peers"][peer]
        for key, figure in document["figures"].items()
        if peer in figure["peers"]
    }
    assert set(of_peer) == expected(peer)
    for key, figure in of_peer.items():
        assert len(figure["samples"]) == QUICK.rounds
        assert math.isfinite(figure["median"])
        assert figure["median"] >= 0 or key in MAY_BE_NEGATIVE, key
        if key.endswith("_share"):
            assert 0 < figure["median"] <= 1
    assert of_peer["echo_p50"]["median"] <= of_peer["echo_p99"]["median"]


@pytest.mark.parametrize("peer", OTHERS)
def test_the_other_peers_work(echo: Document, peer: str) -> None:
    if reason := echo["missing"].get(peer):
        pytest.skip(f"{peer}: {reason}")
    failures = [text for text in echo["failures"] if text.startswith(peer)]
    if failures and peer in ("autossh", "sshtunnel", "asyncssh"):
        pytest.skip(f"not ours to mend: {failures}")
    assert not failures
    for key in ("echo_p50", "echo_p99"):
        assert echo["figures"][key]["peers"][peer]["median"] > 0


def test_aims_are_judged_by_what_was_measured(document: Document) -> None:
    assert len(document["aims"]) == len(AIMS)
    for aim in document["aims"]:
        if aim["times_peer"] in document["missing"]:
            assert aim["reached"] is None
        elif aim["measured"] is not None:
            better = aim["measured"] - aim["bound"]
            assert aim["reached"] == (better >= 0 if aim["sense"] == "≥" else better <= 0)


def test_the_report_says_when_where_and_with_what(output: Path, document: Document) -> None:
    text = (output / "results.md").read_text()
    for said in ("date", "machine", "system", "interpreter", "commit"):
        assert document[said] in text
    assert f"tunnelctl {document['versions']['tunnelctl']}" in text
    for figure in document["figures"].values():
        assert figure["title"] in text
