"""Hooks: what runs when a profile comes up, goes down or fails, and what it is told."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import is_running
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.state.documents.snapshot import ProfileState
from tunnelctl.state.profile.hooks import Hook, hook_of

# Keeps what it is told, its environment, and whether it leads a group of its own.
_KEEP = """#!/bin/sh
cat > "$1/$2.draft"
env > "$1/$2.env"
mv "$1/$2.draft" "$1/$2.$(date +%s%N).json"
echo "told of $2"
"""


class Told:
    """The documents that hooks of one world were given."""

    def __init__(self, world: World) -> None:
        self.folder = world.home / "told"
        self.folder.mkdir()
        program = world.configs / "keep"
        program.write_text(_KEEP)
        program.chmod(0o755)

    def hooks(self) -> str:
        """The block of a profile."""
        rows = (f"  {hook}: [./keep, {self.folder}, {hook}]" for hook in Hook)
        return "\n".join(["hooks:", *rows, ""])

    def documents(self, hook: Hook) -> list[dict[str, Any]]:
        """What one hook was told, in order."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob(f"{hook}.*.json"))]

    def wait(self, hook: Hook, count: int) -> dict[str, Any]:
        """The last document, once there are so many."""
        eventually(lambda: len(self.documents(hook)) >= count, f"{count} times {hook}")
        documents = self.documents(hook)
        assert len(documents) == count
        return documents[-1]


@pytest.fixture
def told(world: World) -> Told:
    return Told(world)


def test_up_down_and_up_again(world: World, sshd: OpenSSHServer, told: Told) -> None:
    with EchoService() as echo:
        path = world.tunnel(sshd, db=f"local: 0, to: {echo.port}")
        path.write_text(path.read_text() + told.hooks())
        world.environ["KUBECONFIG"] = "/of/the/shell"
        world.ok("up", "dev", "-d")
        document = told.wait(Hook.ON_UP, 1)
        assert document["api_version"] == 1
        assert document["hook"] == "on_up"
        assert document["event"]["kind"] == "profile"
        assert document["event"]["state"] == "up"
        assert document["profile"]["name"] == "dev"
        assert document["profile"]["state"] == "up"
        environment = (told.folder / "on_up.env").read_text()
        assert "KUBECONFIG=/of/the/shell" in environment
        assert f"PATH={world.environ['PATH']}" in environment

        sshd.kill()
        assert told.wait(Hook.ON_DOWN, 1)["profile"]["state"] == "degraded"
        sshd.start()
        told.wait(Hook.ON_UP, 2)
        world.ok("down", "dev")
        assert told.wait(Hook.ON_DOWN, 2)["profile"]["wanted"] == "down"
        assert told.documents(Hook.ON_FAILED) == []
        logged = world.ok("logs", "dev")
        assert "hook on_up of dev says: told of on_up" in logged


def test_failed(world: World, sshd: OpenSSHServer, told: Told) -> None:
    path = world.tunnel(sshd, db="local: 0, to: 9")
    path.write_text(path.read_text() + told.hooks())
    world.ok("up", "dev", "-d")
    told.wait(Hook.ON_UP, 1)
    sshd.rotate_host_key()
    sshd.restart()
    document = told.wait(Hook.ON_FAILED, 1)
    assert document["profile"]["hosts"][0]["last_error"]["code"] == "host-key-changed"


@pytest.mark.parametrize(
    ("before", "after", "times"),
    [
        ({"db": "local: 0, to: 9"}, {"db": "local: 0, to: 10"}, 0),
        ({"db": "local: 0, to: 9"}, {"db": "local: 0, to: 9", "more": "local: 0, to: 9"}, 0),
        ({"db": "local: 0, to: 9", "more": "local: 0, to: 9"}, {"db": "local: 0, to: 9"}, 0),
        # It is not up until the server has answered.
        ({"db": "remote: 0, to: 9"}, {"db": "remote: 0, to: 10"}, 1),
    ],
)
def test_one_reload_is_one_story(
    world: World,
    sshd: OpenSSHServer,
    told: Told,
    before: dict[str, str],
    after: dict[str, str],
    times: int,
) -> None:
    def write(forwards: dict[str, str]) -> None:
        path = world.tunnel(sshd, **forwards)
        path.write_text(path.read_text() + told.hooks())

    write(before)
    world.ok("up", "dev", "-d")
    told.wait(Hook.ON_UP, 1)
    write(after)
    world.ok("reload", "dev")
    eventually(lambda: world.status()["profiles"][0]["state"] == "up", "it is up")
    world.ok("down", "dev")
    told.wait(Hook.ON_DOWN, times + 1)
    assert len(told.documents(Hook.ON_UP)) == times + 1


def test_a_hook_of_the_end_runs_before_the_daemon_ends(world: World, told: Told) -> None:
    text = "version: 1\nhosts: {a: {embedded: true}}\nforwards:\n"
    text += "  x: {local: 0, to: 'hello:80', via: a}\n"
    world.profile("dev", text + told.hooks())
    world.ok("up", "dev", "-d")
    pid = world.daemon_pid()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_running(pid), "the daemon has ended")
    assert told.wait(Hook.ON_DOWN, 1)["profile"]["name"] == "dev"


def test_one_that_cannot_run_or_fails_is_said_and_harms_nothing(world: World) -> None:
    text = "version: 1\nhosts: {a: {embedded: true}}\nforwards:\n"
    text += "  x: {local: 0, to: 'hello:80', via: a}\n"
    hooks = "hooks:\n  on_up: [no-such-program]\n  on_down: [sh, -c, 'echo bad >&2; exit 3']\n"
    world.profile("dev", text + hooks)
    world.ok("up", "dev", "-d")
    world.ok("down", "dev")
    eventually(lambda: "exit status 3" in world.ok("logs", "dev"), "its end is said")
    logged = world.ok("logs", "dev")
    assert "hook on_up of dev cannot be run: " in logged
    assert "hook on_down of dev says: bad" in logged


def test_one_that_dies_of_a_signal_is_said(world: World) -> None:
    text = "version: 1\nhosts: {a: {embedded: true}}\nforwards:\n"
    text += "  x: {local: 0, to: 'hello:80', via: a}\n"
    world.profile("dev", f'{text}hooks: {{on_up: [sh, -c, "kill -SEGV $$$$"]}}\n')
    world.ok("up", "dev", "-d")
    eventually(lambda: "SIGSEGV" in world.ok("logs", "dev"), "it is said")


def test_one_that_hangs_is_ended_with_all_that_it_started(world: World, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = "version: 1\nhosts: {a: {embedded: true}}\nforwards:\n"
    text += "  x: {local: 0, to: 'hello:80', via: a}\n"
    script = (
        f"trap : TERM; sleep 600 & echo $$$$ $$! > {pids}.new; mv {pids}.new {pids}; wait; wait"
    )
    world.profile("dev", f'{text}hooks: {{on_up: [sh, -c, "{script}"]}}\n')
    world.ok("up", "dev", "-d")
    eventually(pids.exists, "it runs")
    started = [int(word) for word in pids.read_text().split()]
    assert [os.getpgid(pid) for pid in started] == [started[0]] * 2
    eventually(lambda: "longer than 10 s" in world.ok("logs", "dev"), "it was ended", 20)
    eventually(lambda: not any(map(is_running, started)), "all of it is gone")
    assert world.status()["profiles"][0]["state"] == "up"


@pytest.mark.parametrize(
    ("states", "hooks"),
    [
        (["starting", "up", "degraded", "up", "stopping", "stopped"], "up down up down"),
        (["starting", "failed", "starting", "up", "failed"], "failed up failed"),
        (["starting", "degraded", "stopping", "stopped"], ""),
        (["starting", "up", "starting", "up"], "up down up"),
    ],
)
def test_each_up_has_one_down(states: list[str], hooks: str) -> None:
    before: ProfileState | None = None
    called = []
    for now in map(ProfileState, states):
        if hook := hook_of(before, now):
            called.append(hook.removeprefix("on_"))
        before = now
    assert called == hooks.split()
