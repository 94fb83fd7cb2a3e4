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
_WITHIN = 120  # seconds, on a machine that is busy with others


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


@pytest.mark.usefixtures("database")
def test_django_reads_the_database(shop: Examples) -> None:
    pytest.importorskip("django")
    shop.world.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    shown = _run("settings.py", shop, "-c", _ASKS_DJANGO)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "3 orders\n", "")


_ASKS_DJANGO = """
import django
django.setup()
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("select count(*) from orders")
    print(cursor.fetchone()[0], "orders")
"""


@pytest.mark.usefixtures("database")
def test_workers_of_celery_have_tunnels_of_their_own(shop: Examples) -> None:
    """A worker forks two processes; messages are files."""
    pytest.importorskip("celery")
    home = shop.world.home
    (home / "data_in").mkdir()
    (home / "data_out").symlink_to("data_in")
    (home / "results").mkdir()
    shop.world.environ["CELERY_BROKER_URL"] = "filesystem://"
    shop.world.environ["CELERY_RESULT_BACKEND"] = f"file://{home}/results"
    (home / "tasks.py").write_text(PROGRAMS["tasks.py"])
    options = ("--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle")
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel=ERROR", *options],
        cwd=home,
        env={**shop.world.environ, "PYTHONWARNINGS": "default"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        done = _run("tasks.py", shop, "-c", _ASKS_CELERY)
    finally:
        worker.terminate()  # it ends its processes
        said, _ = worker.communicate(timeout=_WITHIN)
    assert (done.returncode, done.stdout) == (0, "[3, 2, 3, 2]\n"), done.stderr + said
    assert (worker.returncode, "Traceback" in said) == (0, False), said


_ASKS_CELERY = """
from tasks import count
asked = [count.delay(table) for table in ("orders", "customers") * 2]
print([each.get(timeout=100) for each in asked])
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


@pytest.mark.long
def test_a_strict_type_checker_accepts_the_programs(tmp_path: Path) -> None:
    """But for those whose functions have no types: pytest and Celery call them."""
    pytest.importorskip("sqlalchemy")
    typed = PROGRAMS.keys() - {"test_orders.py", "tasks.py"}
    for name in typed:
        (tmp_path / name).write_text(PROGRAMS[name])
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *sorted(typed)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_program_of_the_page_is_run_here() -> None:
    source = Path(__file__).read_text()
    assert len(PROGRAMS) == len(fenced(PAGE, "python"))
    assert all(f'"{name}"' in source for name in PROGRAMS)
