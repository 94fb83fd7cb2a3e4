"""What a newcomer meets: no profile yet, a file that is none, a disk that is full."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.test_streams import NOT_ASCII
from tests.support.world import World
from tunnelctl.config.profile.load import load_profile
from tunnelctl.errors import reason
from tunnelctl.home import extras

FIRST_STEPS = (
    "(tunnelctl init writes a first one; tunnelctl up -L PORT:HOST:PORT SERVER does without)"
)


@pytest.mark.parametrize(
    ("command", "code"), [("ls", 0), ("check", 66), ("up", 66), ("up dev", 66)]
)
def test_without_any_profile_the_first_steps_are_told(
    world: World, command: str, code: int
) -> None:
    done = world.run(*command.split())
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert str(world.configs) in line
    assert line.endswith(FIRST_STEPS)


def test_what_is_told_first_works(world: World) -> None:
    world.ok("init")
    assert "Forwarding from" in world.ok("up", "-d")


@pytest.mark.parametrize("command", ["ls", "check"])
def test_a_file_that_cannot_be_a_profile_is_said(world: World, command: str) -> None:
    world.profile("dev", NOT_ASCII)
    world.profile("My_Profile", NOT_ASCII)
    world.profile("tests.YAML", NOT_ASCII).rename(world.configs / "tests.YAML")
    (world.configs / "folder.yaml").mkdir()
    (world.configs / "gone.yml").symlink_to("nowhere")
    (world.configs / ".draft.yaml").touch()
    (world.configs / "notes.txt").touch()
    done = world.run(command)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    said = dict(line.split(": ", 2)[1:] for line in done.stderr.splitlines())
    assert {path.rpartition("/")[2]: why.partition(":")[0] for path, why in said.items()} == {
        "My_Profile.yaml": "not a profile, 'My_Profile' cannot be its name",
        "folder.yaml": "not a profile, it is no regular file",
        "gone.yml": "not a profile, it is no regular file",
        "tests.YAML": "not a profile, a profile's file ends in .yaml or .yml",
    }


@pytest.mark.parametrize("is_installed", [True, False])
def test_what_a_profile_needs_and_is_not_installed(
    world: World, monkeypatch: pytest.MonkeyPatch, is_installed: bool
) -> None:
    path = world.profile("dev", "hosts: {j: {password: {keyring: a/b}}, h: {proxy_jump: j}}\n")
    monkeypatch.setattr(extras, "find_spec", lambda name: object() if is_installed else None)
    told = list(extras.lacking(load_profile(path, world.environ).profile))
    assert len(told) == (0 if is_installed else 1)
    for one in told:
        assert one.startswith("{keyring: …} needs the package keyring, which is not installed")
        assert "pip install" in one


@pytest.mark.parametrize("command", ["init", "up -L 0:a:1 server"])
def test_a_full_disk_names_the_file_and_leaves_nothing(world: World, command: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'ulimit -f 0; exec "$PYTHON" -m tunnelctl {command}'],
        cwd=world.home,
        env={**world.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 73
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"tunnelctl: {world.home}/")
    assert " cannot be written: File too large" in line
    assert not [path for path in world.home.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(2, "No such file or directory"), "No such file or directory"),
        (OSError("AF_UNIX path too long"), "AF_UNIX path too long"),
        (TimeoutError(), "TimeoutError"),
        (ValueError("is empty"), "is empty"),
    ],
)
def test_a_reason_is_never_empty(error: Exception, text: str) -> None:
    assert reason(error) == text
