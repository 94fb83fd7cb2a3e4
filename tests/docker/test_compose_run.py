"""The compose files for real. Opt-in: TUNNELCTL_TEST_DOCKER=1, with a docker daemon at hand.

`COMPOSE_FILE` and, for deploy/compose-fleet.yaml, `FLEET_COMPOSE_FILE` may add an override file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("TUNNELCTL_TEST_DOCKER") != "1",
        reason="needs docker: set TUNNELCTL_TEST_DOCKER=1",
    ),
    pytest.mark.timeout(900),  # the first build fetches packages
]


@pytest.fixture(params=["docker compose", "docker-compose"])
def compose(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The words that call one version of compose, on a project of the test's own."""
    words = str(request.param).split()
    available = shutil.which(words[0]) is not None
    if not available or subprocess.run([*words, "version"], check=False).returncode != 0:
        pytest.skip(f"{request.param} is not installed")
    project = [*words, "-p", "tunnelctl-test"]
    yield project
    run([*project, "down", "-v", "-t", "5"])


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder; its output is in the failure if it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}"
    return done


def test_up_is_green_and_the_forward_is_proved(compose: list[str]) -> None:
    if compose[0] == "docker":  # version 1 has no --wait; its `run` waits for what it depends on
        run([*compose, "up", "--wait", "--build"])
    else:
        run([*compose, "up", "-d", "--build"])
    proof = run([*compose, "run", "--rm", "test"]).stdout
    assert "ok: web:8000 cannot be reached from here" in proof
    assert "ok: GET http://daemon:8080/ -> 200" in proof


def test_the_tunnel_is_back_after_the_server_was_killed(compose: list[str]) -> None:
    run([*compose, "up", "-d", "--build"])
    run([*compose, "run", "--rm", "test"])
    run([*compose, "kill", "sshd"])
    run([*compose, "up", "-d"])
    assert "proved:" in run([*compose, "run", "--rm", "test"]).stdout


@pytest.fixture
def fleet_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose reads the fleet's file. Named before `compose`, so that its `down` reads it too."""
    files = os.environ.get("FLEET_COMPOSE_FILE", "deploy/compose-fleet.yaml")
    monkeypatch.setenv("COMPOSE_FILE", files)


def test_the_other_machine_of_the_fleet_takes_over(fleet_file: None, compose: list[str]) -> None:
    run([*compose, "up", "-d", "--build"])
    assert "proved:" in run([*compose, "run", "--rm", "test"]).stdout
    holder = holder_of_hello(compose, "machine1")
    assert holder is not None
    (other,) = {"machine1", "machine2"} - {holder}
    run([*compose, "kill", holder])
    eventually(lambda: holder_of_hello(compose, other) == other, f"{other} takes over", 60)
    proof = [*compose, "run", "--rm", "--no-deps", "test"]
    # Until sshd has ended the session of the killed machine, its port leads nowhere.
    eventually(lambda: subprocess.run(proof, cwd=ROOT, check=False).returncode == 0, "proved", 60)


def holder_of_hello(compose: list[str], machine: str) -> str | None:
    """The machine that holds the profile, as one of them says."""
    asked = [*compose, "exec", "-T", machine, "tunnelctl", "fleet", "--json"]
    answer = subprocess.run(asked, cwd=ROOT, capture_output=True, check=False).stdout
    (profile,) = json.loads(answer)["fleet"]["profiles"]
    holder: str | None = profile["holder"]
    return holder
