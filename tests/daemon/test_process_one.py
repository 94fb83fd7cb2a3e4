"""As process 1 of a container: orphans are collected, signals and exit codes get through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import children, command_line, is_zombie, process_one
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World

# It leaves somebody behind, in a session of its own, who waits for a word.
_LEAVES = (
    "setsid sh -c ': > {started}; read -r _ < {word}' > /dev/null 2>&1 & "
    "until test -e {started}; do sleep 0.05; done; exit 1"
)


@contextmanager
def _contained(world: World, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [*process_one(), sys.executable, "-m", "tunnelctl", *arguments]
    with subprocess.Popen(
        command, env=world.environ, cwd=world.home, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _waiting(pid: int, word: Path) -> list[int]:
    return [each for each in children(pid) if str(word) in command_line(each)]


def _zombies(pid: int) -> list[int]:
    """Of process 1 alone: what it has not collected."""
    return [each for each in children(pid) if is_zombie(each)]


def test_who_outlives_a_proxy_command_is_collected(world: World, tmp_path: Path) -> None:
    started, word = tmp_path / "started", tmp_path / "word"
    os.mkfifo(word)
    script = _LEAVES.format(started=started, word=word)
    world.profile(
        "dev",
        "version: 1\nhosts:\n  far:\n    reconnect: {min: 1h, max: 1h}\n    user: me\n"
        f'    proxy_command: [sh, -c, "{script}"]\n'
        "forwards: {f: {local: 0, to: 1, via: far}}\n",
    )
    with _contained(world, "daemon", "dev") as process:
        eventually(started.exists, "the program ran")
        (one,) = children(process.pid)
        eventually(lambda: _waiting(one, word), "process 1 has inherited the orphan")
        (orphan,) = _waiting(one, word)
        word.write_text("\n")
        eventually(lambda: not Path(f"/proc/{orphan}").exists(), "the orphan is collected")
        eventually(lambda: not _zombies(one), "nothing is left")
        (daemon,) = children(one)
        os.kill(one, signal.SIGTERM)
        assert process.wait(20) == 0
        assert not Path(f"/proc/{daemon}").exists()


@pytest.mark.parametrize(("arguments", "code"), [(("ps",), 3), (("--version",), 0)])
def test_exit_codes_get_through(world: World, arguments: tuple[str, ...], code: int) -> None:
    with _contained(world, *arguments) as process:
        assert process.wait(20) == code


def test_a_command_under_run_gets_its_exit_code_through(world: World, sshd: OpenSSHServer) -> None:
    world.tunnel(sshd, db="local: 0, to: 1")
    with _contained(world, "run", "dev", "--", "sh", "-c", "exit 7") as process:
        assert process.wait(30) == 7
