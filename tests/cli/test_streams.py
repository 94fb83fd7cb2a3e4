"""The standard streams as they come: closed, full, at an end, and in a locale that knows ASCII."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import World

NOT_ASCII = """\
version: 1
description: Größe
hosts:
  demo: {embedded: true}
forwards:
  hello: {local: 0, to: "hello:80", via: demo}
"""


def in_shell(world: World, line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a line of sh in which `t` is the command."""
    return subprocess.run(
        ["sh", "-c", f't() {{ "$PYTHON" -m tunnelctl "$@"; }}\n{line}'],
        cwd=world.home,
        env={**world.environ, **environ, "PYTHON": sys.executable},
        capture_output=True,
        encoding=environ.get("PYTHONIOENCODING", "utf-8").partition(":")[0],
        errors="replace",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_as_one_that_nobody_reads(world: World, closed: str) -> None:
    world.profile("dev", NOT_ASCII)
    for command in ("up dev -d", "ps", "schema", "--help", "down dev"):
        done = in_shell(world, f"t {command} {closed}")
        assert done.returncode == 0, command
        assert done.stderr in ("", "tunnelctl: dev is down\n")
    assert world.run("ps", "nothing").returncode == in_shell(world, "t ps nothing 2>&-").returncode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", ["schema", "--help", "ls"])
def test_an_output_that_takes_no_more_is_said(world: World, command: str) -> None:
    world.profile("dev", NOT_ASCII)
    done = in_shell(world, f"t {command} >/dev/full")
    assert done.returncode == 1
    assert done.stderr == "tunnelctl: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("command", ["schema", "ls", "--help", "logs", "config dev", "ps --json"])
def test_a_reader_that_has_gone_is_no_error_to_speak_of(world: World, command: str) -> None:
    world.profile("dev", NOT_ASCII)
    world.ok("up", "dev", "-d")
    assert in_shell(world, f"t {command} | head -n 0").stderr == ""


def test_its_exit_code_is_not_that_of_a_profile_that_is_not_up(world: World) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with world.start("schema", stdout=writer) as command:
        os.close(writer)
        assert command.stderr is not None
        assert command.stderr.read() == ""
    assert command.returncode == 128 + signal.SIGPIPE


def test_an_interrupt_while_the_command_is_still_loaded(world: World) -> None:
    program = """
import sys
class Interrupt:
    def find_spec(self, name, *rest):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from tunnelctl.__main__ import main
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=world.environ, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, b"tunnelctl: interrupted\n")


def test_an_interrupt_in_a_callback_of_the_interpreters_own(world: World) -> None:
    """As for the weak references of its import locks: Python tells of what is raised there."""
    program = """
import os, signal, sys, weakref
class Interrupt:
    def find_spec(self, name, *rest):
        if name == "click":
            reference = weakref.ref(Interrupt(), lambda _: os.kill(os.getpid(), signal.SIGINT))
            signal.pause()
sys.meta_path.insert(0, Interrupt())
from tunnelctl.__main__ import main
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=world.environ,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, b"tunnelctl: interrupted\n")


def test_an_interrupt_after_the_command_has_ended(world: World) -> None:
    program = """
import atexit, os, signal, sys
from tunnelctl.__main__ import main
atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.argv = ["tunnelctl", "version"]
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=world.environ, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_YY"])
def test_a_locale_of_ascii_only(world: World, locale: str) -> None:
    world.profile("dev", NOT_ASCII)
    for command in ("up dev -d", "ps", "config dev", "check", "schema", "logs"):
        done = in_shell(
            world, f"t {command}",
            LC_ALL=locale, LANG="", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    for command in ("config dev --json", "doctor dev", "trust --help", "ls --json", "ps --json"):
        done = in_shell(world, f"t {command}", LC_ALL=locale, PYTHONIOENCODING="ascii:strict")
        assert (done.returncode, done.stderr) == (0, ""), command
    done = in_shell(world, "t up dév", LC_ALL=locale, PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert done.returncode == 66
    assert len(done.stderr.splitlines()) == 1


UNUSUAL = NOT_ASCII.replace("Größe", "Größe … → 日本 \U0001f600")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_an_output_of_another_encoding(world: World, encoding: str) -> None:
    """What a program reads is exact; what a person reads comes at all."""
    world.profile("dev", UNUSUAL)
    exact = world.ok("config", "dev", "--json")
    for command in ("ls", "check", "schema", "config dev", "trust --help", "doctor dev"):
        done = in_shell(world, f"t {command}", PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, ""), command
    shown = in_shell(world, "t config dev", PYTHONIOENCODING=encoding).stdout
    world.profile("again", shown)
    assert world.ok("config", "again", "--json") == exact
    for command, whole in (("config dev --json", exact), ("schema", world.ok("schema"))):
        shown = in_shell(world, f"t {command}", PYTHONIOENCODING=encoding).stdout
        assert json.loads(shown) == json.loads(whole)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_path_that_is_no_text(world: World, encoding: str) -> None:
    """A file's name is bytes: what is printed of it names that file."""
    folder = os.fsencode(world.home) + b"/caf\xe9"
    os.mkdir(folder)
    Path(os.fsdecode(folder), "dev.yaml").write_text(NOT_ASCII)
    command = [sys.executable, "-m", "tunnelctl", "ls"]
    environ = {**os.environb, **{os.fsencode(n): os.fsencode(v) for n, v in world.environ.items()}}
    environ |= {b"TUNNELCTL_CONFIG_DIR": folder, b"PYTHONIOENCODING": encoding.encode()}
    done = subprocess.run(command, env=environ, cwd=world.home, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert folder + b"/dev.yaml" in done.stdout


def test_an_input_of_another_encoding(world: World) -> None:
    done = in_shell(world, "printf 'ssh -L 1:b:2 h\\351\\n' | t import ssh-command -")
    assert done.returncode == 78
    assert done.stderr == "tunnelctl: standard input cannot be read: it is not UTF-8\n"
