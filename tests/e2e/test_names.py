"""A name belongs to the file that it came from: two projects do not meet in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.clients import ask
from tests.support.ports import free_port
from tests.support.profiles import EMBEDDED
from tests.support.services import ReplyAfterEndService
from tests.support.sshd import OpenSSHServer
from tests.support.world import World


class Project:
    """A folder with `configs/`, in which commands are given."""

    def __init__(self, world: World, name: str, profile: str = "dev") -> None:
        self.world = world
        self.folder = world.home / name
        configs = self.folder / "configs"
        configs.mkdir(parents=True)
        self.file = configs / f"{profile}.yaml"
        self.file.write_text(EMBEDDED)

    def run(self, *arguments: str, below: str = ".") -> subprocess.CompletedProcess[str]:
        """Run a command there, or in a folder below."""
        folder = self.folder / below
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            [sys.executable, "-m", "tunnelctl", *arguments],
            cwd=folder,
            env={k: v for k, v in self.world.environ.items() if k != "TUNNELCTL_CONFIG_DIR"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def sources(world: World) -> dict[str, str]:
    """Where each profile that is wanted up comes from."""
    profiles = world.status()["profiles"]
    return {p["name"]: p["source"] for p in profiles if p["wanted"] == "up"}


@pytest.fixture
def first(world: World) -> Project:
    return Project(world, "first")


@pytest.fixture
def second(world: World) -> Project:
    return Project(world, "second")


def test_the_second_up_changes_nothing(world: World, first: Project, second: Project) -> None:
    assert first.run("up", "dev", "-d").returncode == 0
    for command in (("up", "dev", "-d"), ("up", "dev"), ("run", "dev", "--", "true")):
        done = second.run(*command)
        assert done.returncode == 2, done.stderr
        assert f"dev is up already, from {first.file}" in done.stderr
        assert "--as OTHER" in done.stderr
        assert "--replace" in done.stderr
    assert sources(world) == {"dev": str(first.file)}
    assert second.run("up", "dev", "-d", "--as", "dev-b").returncode == 0
    assert sources(world) == {"dev": str(first.file), "dev-b": str(second.file)}
    assert second.run("reload", "dev-b").stdout == "dev-b: unchanged\n"
    assert second.run("down", "dev-b").returncode == 0
    assert second.run("up", "dev", "-d", "--replace").returncode == 0
    assert sources(world) == {"dev": str(second.file)}


@pytest.mark.parametrize(
    "command", [("down",), ("down", "d*"), ("restart",), ("reload",), ("port",), ("answer",)]
)
def test_no_order_reaches_another_projects(
    world: World, first: Project, second: Project, command: tuple[str, ...]
) -> None:
    assert first.run("up", "dev", "-d").returncode == 0
    words = {"port": "dev/hello", "answer": "dev/demo"}
    order = command if len(command) > 1 else (*command, words.get(command[0], "dev"))
    done = second.run(*order)
    assert done.returncode == 2, done.stderr
    assert f"dev is up from {first.file}, and not from {second.file}" in done.stderr
    assert sources(world) == {"dev": str(first.file)}
    # Where no file is called so, the name alone is what is meant.
    second.file.unlink()
    assert second.run(*order).returncode == 0


def test_down_by_force_and_of_all(world: World, first: Project, second: Project) -> None:
    assert first.run("up", "dev", "-d").returncode == 0
    assert "--force" in second.run("down", "dev").stderr
    assert second.run("down", "dev", "--force").returncode == 0
    assert sources(world) == {}
    assert first.run("up", "dev", "-d").returncode == 0
    assert second.run("down", "--all").returncode == 0
    assert sources(world) == {}


def test_everybodys_first_profile_is_default(world: World) -> None:
    one, other = Project(world, "one", "default"), Project(world, "other", "default")
    assert one.run("up", "-d").returncode == 0
    assert other.run("up", "-d").returncode == 2
    assert other.run("down").returncode == 2
    assert one.run("down").returncode == 0


def test_nothing_is_ordered_where_one_of_several_names_is_taken(
    world: World, first: Project, second: Project
) -> None:
    (second.folder / "configs" / "base.yaml").write_text(EMBEDDED)
    assert first.run("up", "dev", "-d").returncode == 0
    assert second.run("up", "base", "dev", "-d").returncode == 2
    assert sources(world) == {"dev": str(first.file)}


def test_the_same_file_by_another_path(world: World, first: Project) -> None:
    assert first.run("up", "dev", "-d").returncode == 0
    link = first.folder / "link"
    link.symlink_to(first.folder / "configs")
    assert first.run("-f", str(link / "dev.yaml"), "up", "dev", "-d").returncode == 0
    assert first.run("down", "dev").returncode == 0


# --- where a name is looked for ------------------------------------------------------------------


def test_from_a_folder_below_the_project(world: World, first: Project) -> None:
    (first.folder / ".git").mkdir()
    done = first.run("up", "dev", "-d", below="src/deep")
    assert done.returncode == 0, done.stderr
    assert sources(world) == {"dev": str(first.file)}
    assert first.run("down", "dev", below="src/deep").returncode == 0
    listed = json.loads(first.run("ls", "--json", below="src").stdout)["profiles"]
    assert [found["file"] for found in listed] == [str(first.file)]


def test_the_nearer_file_comes_first(world: World, first: Project) -> None:
    inner = Project(world, "first/inner")
    done = first.run("check", "dev", below="inner/src")
    assert done.stdout.startswith(f"{inner.file}:")


# --- what nobody wrote ---------------------------------------------------------------------------


@pytest.fixture
def bastion(world: World, sshd: OpenSSHServer) -> World:
    world.alias("bastion", sshd)
    return world


def test_a_second_line_takes_the_next_name(bastion: World) -> None:
    ports = free_port(), free_port()
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        for port in (*ports, ports[0]):
            bastion.ok("up", "-d", "-L", f"{port}:127.0.0.1:{service.port}", "bastion")
        assert sorted(sources(bastion)) == ["bastion", "bastion-2"]
        for port in ports:
            assert ask(port, b"it") == b"seen it"
        third = f"{free_port()}:127.0.0.1:{service.port}"
        done = bastion.run("up", "-d", "-L", third, "--as", "bastion", "bastion")
        assert done.returncode == 2
        assert "bastion is up already, from " in done.stderr
        bastion.ok("up", "-d", "-L", third, "--as", "bastion", "--replace", "bastion")
        assert sorted(sources(bastion)) == ["bastion", "bastion-2"]


def test_lines_that_race_get_a_name_each(bastion: World) -> None:
    ports = [free_port() for _ in range(4)]
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:

        def up(port: int) -> str:
            return bastion.ok("up", "-d", "-L", f"{port}:127.0.0.1:{service.port}", "bastion")

        with ThreadPoolExecutor() as pool:
            said = list(pool.map(up, ports))
        assert len(sources(bastion)) == len(ports)
        for port, lines in zip(ports, said, strict=True):
            assert f":{port} ->" in lines
            assert ask(port, b"it") == b"seen it"


def test_a_run_shares_what_the_same_line_has_up(bastion: World) -> None:
    spec = f"{free_port()}:127.0.0.1:9"
    bastion.ok("up", "-d", "-L", spec, "bastion")
    bastion.ok("run", "-L", spec, "bastion", "--", "true")
    assert list(sources(bastion)) == ["bastion"]


def test_what_was_not_used_for_long_is_removed(bastion: World) -> None:
    bastion.ok("up", "-d", "-L", "0:127.0.0.1:9", "bastion")
    (used,) = Path(bastion.state).rglob("bastion.*.yaml")
    old = used.with_name("old.0123456789.yaml")
    old.write_text("version: 1\n")
    for file in (used, old):
        os.utime(file, (0, 0))
    bastion.ok("up", "-d", "-L", "0:127.0.0.1:10", "bastion")
    assert used.exists()
    assert not old.exists()
