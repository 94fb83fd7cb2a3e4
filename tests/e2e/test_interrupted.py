"""Ctrl-C or SIGKILL at any point of a command's start leaves nothing up, and tells no traceback."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.profiles import EMBEDDED
from tests.support.services import ReplyAfterEndService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.errors import Code, Failure

_POINTS = 6
_COUNT_ONLY = 0
_KEPT = "kept"  # the profile that keeps the daemon running


@pytest.fixture
def commands(world: World, sshd: OpenSSHServer) -> Iterator[dict[str, tuple[str, ...]]]:
    """What starts something that must end with it."""
    world.profile("dev", EMBEDDED)
    world.alias("bastion", sshd)
    with ReplyAfterEndService(lambda asked: asked) as service:
        target = str(service.port)
        yield {
            "up": ("up", "dev"),
            "run": ("run", "dev", "--", "true"),
            "run -L": ("run", "-L", f"0:127.0.0.1:{target}", "bastion", "--", "true"),
            "expose": ("expose", target, "--via", "bastion", "--bind", "localhost"),
        }


def wanted(world: World) -> list[str]:
    """The profiles that are wanted up; none where no daemon runs."""
    try:
        profiles = world.status()["profiles"]
    except Failure as failure:
        if failure.code is not Code.DAEMON_NOT_RUNNING:
            raise
        return []
    up = [profile["name"] for profile in profiles if profile["wanted"] == "up"]
    return [name for name in up if name != _KEPT]


def ended(process: subprocess.Popen[str], *, stays: bool) -> tuple[int, str]:
    """Its exit code and what it said; a command that `stays` is interrupted once it is ready, where
    it was not before."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if stays and line.startswith("Ready;"):
            process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    return process.returncode, "".join(said)


def points(world: World, arguments: tuple[str, ...], *, stays: bool) -> range:
    """Where to interrupt the command, in calls: evenly, from what it does first to its last."""
    process = world.interrupted(_COUNT_ONLY, signal.SIGINT, *arguments)
    code, said = ended(process, stays=stays)
    assert code == (130 if stays else 0), said
    count = int(said.splitlines()[-1])
    # Before the first hundredth `main` is not yet where it could say anything.
    return range(count // 100, count, count // _POINTS)


@pytest.mark.parametrize("name", ["up", "run", "run -L", "expose"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "sigkill"])
def test_nothing_stays_up(
    world: World, commands: dict[str, tuple[str, ...]], name: str, number: signal.Signals
) -> None:
    # With a daemon each run does the same; without one the command reads the files itself.
    world.profile(_KEPT, EMBEDDED)
    world.ok("up", "-d", _KEPT)
    arguments, stays = commands[name], name in ("up", "expose")
    # What `run` receives while its command runs, which is one call of it, is for the command.
    left_to_command = int(not stays and number is signal.SIGINT)
    for at in points(world, arguments, stays=stays):
        code, said = ended(world.interrupted(at, number, *arguments), stays=stays)
        if code == 0 and left_to_command:
            left_to_command = 0
        else:
            assert code == (130 if number is signal.SIGINT else -number), (at, said)
        assert "Traceback" not in said, (at, said)
        eventually(lambda: not wanted(world), f"nothing is up after {at} calls")


def test_nothing_stays_up_of_one_that_starts_the_daemon(
    world: World, commands: dict[str, tuple[str, ...]]
) -> None:
    arguments = commands["run"]
    for at in points(world, arguments, stays=False):
        world.run("daemon", "stop")
        code, said = ended(world.interrupted(at, signal.SIGINT, *arguments), stays=False)
        assert code == 130, (at, said)
        assert "Traceback" not in said, (at, said)
        eventually(lambda: not wanted(world), f"nothing is up after {at} calls")
