"""The environment that an order brings: what of the one before stays, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.conftest import Api
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.home.paths import Paths

SECRET = "squeamish-ossifrage"


@pytest.fixture
def noted(world: World, sshd: OpenSSHServer, tmp_path: Path) -> Path:
    """What a proxy command of `dev` saw, a line a run; the profile names $NAMED."""
    seen = tmp_path / "seen"
    host = sshd.host_yaml().rstrip("}")
    script = f"echo $$NAMED $$OTHER >> {seen}; exec socat STDIO TCP:127.0.0.1:{sshd.port}"
    world.profile(
        "dev",
        f"version: 1\nhosts:\n  server: {host}, proxy_command: [sh, -c, '{script}']}}\n"
        'forwards: {f: {local: 0, to: 1, via: server, labels: {of: "${NAMED}"}}}\n',
    )
    world.environ |= {"NAMED": "named", "OTHER": "first"}
    world.ok("up", "dev", "-d")
    assert seen.read_text() == "named first\n"
    return seen


@pytest.mark.parametrize("command", ["restart", "reload"])
def test_a_variable_that_the_profile_names_stays_where_another_shell_has_none(
    world: World, noted: Path, command: str
) -> None:
    del world.environ["NAMED"]
    world.environ["OTHER"] = "second"
    world.ok(command, "dev")
    world.run("restart", "dev/server", environ={"OTHER": "third"})
    eventually(
        lambda: noted.read_text().endswith("named third\n"), "all the rest is the new shell's"
    )


def test_a_dry_run_keeps_nothing(world: World, noted: Path, sshd: OpenSSHServer) -> None:
    world.run("reload", "--dry-run", environ={"OTHER": "second"})
    sshd.kill()
    sshd.start()
    eventually(lambda: noted.read_text() == "named first\n" * 2, "it has what it had")


def test_the_environment_alone(noted: Path, paths: Paths) -> None:
    api = Api(paths.socket)
    path = os.environ["PATH"]
    sent = {"environment": {"PATH": path, "NAMED": "sent", "OTHER": "alone", "GONE": None}}
    answer = api.ask("POST", "/v1/profiles/dev/environment", sent)
    assert answer.status == 200
    assert answer.json["profile"]["state"] == "up"
    assert noted.read_text() == "named first\n"
    assert api.ask("POST", "/v1/profiles/dev/restart").status == 200
    eventually(lambda: noted.read_text().endswith("sent alone\n"), "it is used")


@pytest.mark.parametrize(
    "environment",
    [
        {"X": 1, "TOKEN": SECRET},
        [SECRET],
        SECRET,
        {"TOKEN": f"{SECRET}\0"},
        {f"TOKEN={SECRET}": ""},
        {"": SECRET},
        {"TOKEN": f"{SECRET}\ud800"},
    ],
)
@pytest.mark.parametrize("order", ["profiles/dev/up", "profiles/dev/environment", "reload"])
def test_what_is_no_environment_is_refused_and_not_repeated(
    shared_api: Api, environment: Any, order: str
) -> None:
    answer = shared_api.ask("POST", f"/v1/{order}", {"environment": environment})
    assert answer.status == 400
    assert answer.json["code"] == "usage"
    assert SECRET not in str(answer.body)
