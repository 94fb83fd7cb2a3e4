"""The programs of docs/python.md run, through OpenSSH's sshd and to a real PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.conftest import Examples
from tests.docs.pages import ROOT, ProfileFile, fenced, steps
from tests.support.postgresql import PostgreSQL
from tests.support.sshd import OpenSSHServer

PAGE = ROOT / "docs" / "python.md"
_NAME = re.compile(r"# (\w+\.py)\n")
_WITHIN = 60  # seconds


def _programs() -> dict[str, str]:
    """The programs of the page by the name in their first line."""
    named = ((_NAME.match(text), text) for text in fenced(PAGE, "python"))
    return {found[1]: text for found, text in named if found is not None}


PROGRAMS = _programs()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def shop(with_bastion: Examples) -> Examples:
    """The world of the page, with its profile."""
    (profile,) = (step for step in steps(PAGE) if isinstance(step, ProfileFile))
    with_bastion.world.profile(profile.name, with_bastion.moved(profile.text))
    return with_bastion


@pytest.fixture
def database(postgresql: PostgreSQL, with_bastion: Examples) -> None:
    """PostgreSQL is what the page calls db.internal."""
    with_bastion.names["db.internal:5432"] = f"127.0.0.1:{postgresql.port}"


def _run(name: str, shop: Examples, *command: str) -> subprocess.CompletedProcess[str]:
    program = shop.world.home / name
    program.write_text(PROGRAMS[name])
    return subprocess.run(
        [sys.executable, *command, str(program)],
        cwd=shop.world.home,
        env={**shop.world.environ, "PYTHONWARNINGS": "default"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_WITHIN,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "printed"),
    [("report.py", "3 orders\n"), ("models.py", "3 orders\n"), ("workers.py", "[3, 2]\n")],
)
@pytest.mark.usefixtures("database")
def test_a_program_reads_the_database(shop: Examples, name: str, printed: str) -> None:
    done = _run(name, shop)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


@pytest.mark.usefixtures("database")
def test_the_tests_of_the_page_pass(shop: Examples) -> None:
    done = _run("test_orders.py", shop, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_service_asks_through_several_forwards(shop: Examples) -> None:
    done = _run("service.py", shop)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Hello, World!\n" * 2


def test_the_settings_name_the_tunnel(shop: Examples) -> None:
    shown = _run("settings.py", shop, "-c", _SHOWS)
    assert re.fullmatch(r"127\.0\.0\.1 \d+\n", shown.stdout), shown.stderr


# What Django does with it.
_SHOWS = """
import runpy, sys
default = runpy.run_path(sys.argv[1])["DATABASES"]["default"]
print(default["HOST"], default["PORT"])
"""


def test_an_error_is_printed_with_its_code(shop: Examples, sshd: OpenSSHServer) -> None:
    sshd.stop()
    done = _run("errors.py", shop)
    assert done.returncode == 0, done.stderr
    code, message, _hint = done.stdout.splitlines()
    assert code == "not-ready"
    assert message.startswith("shop is not ready after 2 s: bastion: ")


def test_the_daemon_is_an_object(shop: Examples) -> None:
    without = _run("daemon.py", shop)
    assert without.returncode == 1
    assert "the daemon is not running" in without.stderr
    shop.world.ok("up", "dev", "-d")
    done = _run("daemon.py", shop)
    assert (done.returncode, done.stdout, done.stderr) == (0, "db up\nwiki up\n", "")


def test_every_program_of_the_page_is_run_here() -> None:
    source = Path(__file__).read_text()
    assert len(PROGRAMS) == len(fenced(PAGE, "python"))
    assert all(f'"{name}"' in source for name in PROGRAMS)
