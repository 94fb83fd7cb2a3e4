"""The standard streams as they come: closed, full, at an end, and in a locale that knows ASCII."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import World

EMBEDDED = """\
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
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_as_one_that_nobody_reads(world: World, closed: str) -> None:
    world.profile("dev", EMBEDDED)
    for command in ("up dev -d", "ps", "schema", "--help", "down dev"):
        done = in_shell(world, f"t {command} {closed}")
        assert done.returncode == 0, command
        assert done.stderr in ("", "tunnelctl: dev is down\n")
    assert world.run("ps", "nothing").returncode == in_shell(world, "t ps nothing 2>&-").returncode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", ["schema", "--help", "ls"])
def test_an_output_that_takes_no_more_is_said(world: World, command: str) -> None:
    world.profile("dev", EMBEDDED)
    done = in_shell(world, f"t {command} >/dev/full")
    assert done.returncode == 1
    assert done.stderr == "tunnelctl: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("command", ["schema", "ls", "--help", "logs", "config dev", "ps --json"])
def test_a_reader_that_has_gone_is_no_error_to_speak_of(world: World, command: str) -> None:
    world.profile("dev", EMBEDDED)
    world.ok("up", "dev", "-d")
    assert in_shell(world, f"t {command} | head -n 0").stderr == ""


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


@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_YY"])
def test_a_locale_of_ascii_only(world: World, locale: str) -> None:
    world.profile("dev", EMBEDDED)
    for command in ("up dev -d", "ps", "config dev", "check", "schema", "logs"):
        done = in_shell(
            world, f"t {command}",
            LC_ALL=locale, LANG="", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    done = in_shell(world, "t up dév", LC_ALL=locale, PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert done.returncode == 66
    assert len(done.stderr.splitlines()) == 1
