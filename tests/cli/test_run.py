"""`run`: a command with its tunnels, and nothing left after it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.support.waiting import eventually
from tests.support.world import World

WITH_A_SOCKET = """\
version: 1
hosts:
  demo: {embedded: true}
forwards:
  hello: {local: 0, to: "hello:80", via: demo}
  hello-2: {local: ./hello.sock, to: "hello:80", via: demo}
"""
FETCH = (
    "import os, urllib.request\n"
    "address = os.environ['TUNNELCTL_HELLO_ADDRESS']\n"
    "host, port = os.environ['TUNNELCTL_HELLO_HOST'], os.environ['TUNNELCTL_HELLO_PORT']\n"
    "assert address == f'{host}:{port}', address\n"
    "assert os.environ['TUNNELCTL_HELLO_2_ADDRESS'].endswith('/hello.sock')\n"
    "assert 'TUNNELCTL_HELLO_2_PORT' not in os.environ\n"
    "print(urllib.request.urlopen(f'http://{address}/').read().decode(), end='')\n"
)


@pytest.fixture
def dev(world: World) -> World:
    world.profile("dev", WITH_A_SOCKET)
    return world


def _wanted(world: World) -> list[str]:
    """Names of the profiles that are wanted; none when no daemon runs."""
    done = world.run("ps", "-a", "--json")
    if done.returncode == 3:
        return []
    return [p["name"] for p in json.loads(done.stdout)["profiles"] if p["wanted"] == "up"]


def test_the_command_reaches_what_the_profile_forwards(dev: World) -> None:
    done = dev.run("run", "dev", "--", sys.executable, "-c", FETCH)
    assert (done.returncode, done.stdout) == (0, "Hello, World!\n"), done.stderr
    assert _wanted(dev) == []


@pytest.mark.parametrize("separator", [["--"], []])
def test_the_exit_code_is_the_commands(dev: World, separator: list[str]) -> None:
    assert dev.run("run", "dev", *separator, "sh", "-c", "exit 42").returncode == 42
    assert _wanted(dev) == []


def test_a_command_that_is_not_there(dev: World) -> None:
    done = dev.run("run", "dev", "--", "no-such-command")
    assert done.returncode == 127
    assert "no-such-command" in done.stderr
    assert _wanted(dev) == []


def test_a_profile_that_was_up_stays_up(dev: World) -> None:
    dev.run("up", "-d", "dev")
    assert dev.run("run", "dev", "true").returncode == 0
    assert _wanted(dev) == ["dev"]


def test_what_cannot_be_up_is_not_left_wanted(world: World) -> None:
    text = "version: 1\nhosts: {gone: {hostname: 127.0.0.1, port: 1, user: me}}\n"
    world.profile("gone", text + "forwards: {x: {local: 0, to: 9, via: gone}}\n")
    done = world.run("run", "--wait-timeout", "500ms", "gone", "--", "true")
    assert done.returncode == 75
    assert "keeps trying" not in done.stderr
    eventually(lambda: _wanted(world) == [], "it is not wanted any more", 10.0)


@pytest.mark.parametrize("end", ["down", "daemon"])
def test_tunnels_that_end_before_the_command_are_named(dev: World, end: str) -> None:
    """The exit code is the command's all the same."""
    with dev.start(
        "run", "dev", "--", "sh", "-c", "echo ready; read x; exit 7", stdin=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if end == "down":
            assert dev.run("down", "dev").returncode == 0
        else:
            os.kill(dev.status()["daemon"]["pid"], signal.SIGKILL)
        _, said = process.communicate("\n", timeout=30)
    assert process.returncode == 7
    assert {
        "down": "dev was taken down by another command before this one ended",
        "daemon": "the tunnels ended before the command: the daemon",
    }[end] in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command_and_end_it_alone(dev: World, number: signal.Signals) -> None:
    script = f"trap 'echo got; exit 7' {number.name.removeprefix('SIG')}; echo ready; read x"
    process = dev.start("run", "dev", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "got\n"
    process.communicate(timeout=30)
    assert process.returncode == 7
    assert _wanted(dev) == []


def test_killed_it_leaves_no_profile_behind(dev: World) -> None:
    script = "echo ready; read x"
    process = dev.start("run", "dev", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert _wanted(dev) == ["dev"]
    process.kill()
    process.communicate(timeout=30)
    eventually(lambda: _wanted(dev) == [], "its profile goes down", 10.0)


def test_ctrl_c_at_a_terminal_reaches_the_command_once(dev: World) -> None:
    script = "n=0; trap 'n=$((n+1))' INT; echo ready; read x; read y; echo count $n"
    child, terminal = pty.fork()
    if child == 0:
        arguments = [sys.executable, "-m", "tunnelctl", "run", "dev", "--", "sh", "-c", script]
        os.execve(sys.executable, arguments, dev.environ)
    seen = b""

    def until(word: bytes) -> None:
        nonlocal seen
        while word not in seen:
            seen += os.read(terminal, 1000)

    until(b"ready")
    os.write(terminal, b"\x03")
    until(b"^C")
    os.write(terminal, b"a\nb\n")
    until(b"count 1")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)


def test_two_forwards_that_share_a_variable_are_refused(world: World) -> None:
    rules = "a-b: {local: 0, to: 9, via: demo}, a.b: {local: 0, to: 9, via: demo}"
    world.profile(
        "dev", f"version: 1\nhosts: {{demo: {{embedded: true}}}}\nforwards: {{{rules}}}\n"
    )
    done = world.run("run", "dev", "true")
    assert done.returncode == 78
    assert "TUNNELCTL_A_B_PORT" in done.stderr


@pytest.mark.parametrize("words", [["--wait-timeout", "1s", "true"], ["--help"]])
def test_an_option_behind_the_profile_is_no_command(dev: World, words: list[str]) -> None:
    done = dev.run("run", "dev", *words)
    assert done.returncode == 2
    assert "options come before PROFILE" in done.stderr
    assert not dev.processes()
    assert dev.run("run", "dev", "--", words[0]).returncode == 127
