"""What has to be quick imports nothing that is not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.profiles import EMBEDDED
from tests.support.world import World

HEAVY = ("paramiko", "pydantic", "aiohttp", "cryptography", "yaml", "asyncio")
# What only a command that reads the daemon's status needs.
STATUS = ("tunnelctl.state.documents.snapshot", "tunnelctl.state.documents.status_events")
_PROGRAM = """
import sys
from tunnelctl.cli.main import run
code = run(sys.argv[1:])
print(*sorted(set(sys.modules) & set({heavy!r})), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("arguments", "left_out"),
    [
        ("--help", HEAVY + STATUS),
        ("ls", HEAVY + STATUS),
        ("paths", HEAVY + STATUS),
        ("ps", HEAVY),
        ("ps -w", HEAVY),
        ("connections", HEAVY),
        ("connections --close 1", HEAVY),
        ("down dev", HEAVY),
        ("port a/b", HEAVY),
        ("up --help", HEAVY),
        ("dashboard --help", HEAVY),
    ],
)
def test_it_does_not_import_what_is_heavy(
    world: World, arguments: str, left_out: tuple[str, ...]
) -> None:
    program = _PROGRAM.format(heavy=left_out)
    done = _run(world, program, *arguments.split())
    assert done.returncode in (0, 3), done.stderr
    assert done.stderr.splitlines()[-1] == ""


def test_up_with_a_running_daemon_has_that_check_the_file(world: World) -> None:
    world.profile("dev", EMBEDDED)
    world.profile("wrong", "version: 1\nnope: 1\n")
    world.run("up", "-d", "dev")
    heavy = _PROGRAM.format(heavy=("paramiko", "pydantic", "aiohttp", "yaml"))
    done = _run(world, heavy, "up", "-d", "dev")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "")
    done = _run(world, heavy, "up", "-d", "dev", "wrong")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (78, "")
    assert f"{world.configs}/wrong.yaml:2:1: nope: unknown key" in done.stderr


_DAEMON = """
import sys
{before}
from tunnelctl.cli.setup.daemon import quick_imports
with quick_imports(server_only={server_only}):
    import tunnelctl.daemon.process
from aiohttp import web, http_parser
print(web.Application.__name__, http_parser.HttpRequestParser.__module__)
import aiohttp
print(*sorted(set(sys.modules) & {{"aiohttp.client", "invoke"}}), hasattr(aiohttp, "ClientSession"))
"""


@pytest.mark.parametrize(
    ("before", "server_only", "imported"),
    [
        ("", True, "False"),
        ("", False, "aiohttp.client True"),  # a fleet's store needs it
        # A version whose server needs the whole package.
        ("sys.modules['aiohttp.web'] = None", True, "aiohttp.client True"),
    ],
)
def test_the_daemon_imports_a_server_without_a_client(
    before: str, server_only: bool, imported: str
) -> None:
    program = _DAEMON.format(before=before, server_only=server_only)
    asked = [sys.executable, "-c", program]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["Application aiohttp._http_parser", imported]


def _run(world: World, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=world.environ,
        cwd=world.home,
        capture_output=True,
        text=True,
        check=False,
    )


def test_completion_knows_the_commands(world: World) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tunnelctl"],
        env={
            **world.environ,
            "_TUNNELCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": "tunnelctl ",
            "COMP_CWORD": "1",
        },
        cwd=world.home,
        capture_output=True,
        text=True,
        check=False,
    )
    words = [line.partition(",")[2] for line in done.stdout.splitlines()]
    assert {"up", "down", "ps", "demo"} <= set(words)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & set(HEAVY)


def test_a_reader_that_leaves_is_no_error(world: World) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tunnelctl", "paths"],
            env=world.environ,
            cwd=world.home,
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write_end)
    assert done.returncode == 141  # as SIGPIPE would end it
    assert done.stderr == ""
