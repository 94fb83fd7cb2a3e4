"""bootstrap.py as a newcomer meets it: the real file, real venv and real pip, on a toy package.

The toy needs no network: its build backend is one file, its tools come from PIP_FIND_LINKS.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bootstrap.toy_backend import write_wheel
from tests.support.processes import children, process_one
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[build-system]
requires = []
build-backend = "toy_backend"
backend-path = ["."]
[project]
name = "tunnelctl"
version = "1"
"""
COMPILED = """
import os, sys
print("compiled", flush=True)
sys.exit(int(os.environ.get("EXIT_OF_compiled", "0")))
"""
CHECKS = ("ruff", "mypy", "lint-imports", "pytest")
UNAVAILABLE = 69

pytestmark = pytest.mark.timeout(600)


class Clone:
    """A fresh clone of the toy in `folder`, and a way to run its bootstrap.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.venv = folder / ".venv"
        self.pyproject = folder / "pyproject.toml"
        wheels = folder / "wheels"
        wheels.mkdir(parents=True)
        tools = wheels / write_wheel(wheels, "tools", dict.fromkeys(CHECKS, "tool"))
        digest = hashlib.sha256(tools.read_bytes()).hexdigest()
        self.locks = {
            name: folder / "requirements" / f"{name}.txt" for name in ("run", "build", "test")
        }
        self.locks["run"].parent.mkdir()
        for lock in self.locks.values():
            lock.write_text("# nothing\n")
        self.locks["test"].write_text(f"tools==1 --hash=sha256:{digest}\n")
        # Stands for the project's own; pytest is not asked for anything.
        compiled = folder / "tools" / "compiled.py"
        compiled.parent.mkdir()
        compiled.with_name("__init__.py").touch()
        compiled.write_text(COMPILED)
        shutil.copy(ROOT / "bootstrap.py", folder)
        shutil.copy(Path(__file__).with_name("toy_backend.py"), folder)
        self.pyproject.write_text(PYPROJECT)

    def environ(self, **more: str) -> dict[str, str]:
        """No HOME and a bare locale; pip is steered by its own variables alone."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": (self.folder / "wheels").as_uri(),
            **more,
        }

    def run(self, *words: str, cwd: Path | None = None, **more: str) -> Result:
        """Run `bootstrap.py WORDS` to its end."""
        return subprocess.run(
            [sys.executable, str(self.folder / "bootstrap.py"), *words],
            cwd=cwd or self.folder,
            env=self.environ(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `bootstrap.py WORDS` in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, str(self.folder / "bootstrap.py"), *words],
            cwd=self.folder,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


Result = subprocess.CompletedProcess[str]


@pytest.fixture
def fresh(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "a clone")


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, Result]:
    """A clone in a path with spaces, and what its very first command did."""
    clone = Clone(tmp_path_factory.mktemp("first") / "my tunnel clone")
    return clone, clone.run("up", "dev", "--wait-timeout", "5s")


@pytest.fixture
def ready(first_run: tuple[Clone, Result]) -> Clone:
    """A clone whose `.venv` is complete; what a test changes of it stays changed."""
    return first_run[0]


def test_the_first_run_prepares_and_then_is_tunnelctl(first_run: tuple[Clone, Result]) -> None:
    clone, result = first_run
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["words"] == ["up", "dev", "--wait-timeout", "5s"]
    assert result.stderr.startswith("preparing .venv ... ok (")
    assert [path.name for path in clone.folder.iterdir() if path.name.startswith(".")] == [".venv"]


def test_the_second_run_gets_going_within_a_second(ready: Clone) -> None:
    times, worked = [], []
    for _ in range(3):  # the quickest counts: others work on this machine too
        began, before = time.monotonic(), processor_seconds()
        result = ready.run("ps")
        times.append(time.monotonic() - began)
        worked.append(processor_seconds() - before)
        assert (result.returncode, result.stderr) == (0, "")
    assert min(worked) < 1.0
    assert min(times) < 5.0


def processor_seconds() -> float:
    """What the children that have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_no_argument_shows_the_help(ready: Clone) -> None:
    assert json.loads(ready.run().stdout)["words"] == ["--help"]


def test_the_command_runs_where_the_user_is(ready: Clone, tmp_path: Path) -> None:
    assert json.loads(ready.run("ls", cwd=tmp_path).stdout)["cwd"] == str(tmp_path)


def test_exit_codes_are_the_commands_own(ready: Clone) -> None:
    assert ready.run("exit", "0").returncode == 0
    assert ready.run("exit", "78").returncode == 78
    assert ready.run("die").returncode == -signal.SIGTERM


def test_interrupt_reaches_the_command_itself(ready: Clone) -> None:
    with ready.start("wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 42


def test_as_process_one_it_reaps_orphans_and_passes_signals_and_exit_codes_on(ready: Clone) -> None:
    init = [*process_one(), sys.executable, str(ready.folder / "bootstrap.py")]

    def code(word: str, *more: str) -> int:
        command = [*init, word, *more]
        return subprocess.run(command, env=ready.environ(), check=False).returncode

    assert code("exit", "7") == 7
    assert code("die") == 128 + signal.SIGTERM
    assert code("orphan") == 0
    waiting = subprocess.Popen(
        [*init, "wait"], env=ready.environ(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with waiting as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (inside,) = children(process.pid)
        os.kill(inside, signal.SIGINT)
        assert process.wait(20) == 42


def test_test_runs_every_check_and_hands_pytest_its_arguments(fresh: Clone, tmp_path: Path) -> None:
    result = fresh.run(
        "test", "-k", "a b", cwd=tmp_path, EXIT_OF_pytest="5", TUNNELCTL_TEST_COMPILED=""
    )
    here = str(fresh.folder)
    assert result.stdout.splitlines() == [
        f"ruff|{here}|check|.",
        f"ruff|{here}|format|--check|.",
        f"mypy|{here}",
        f"lint-imports|{here}",
        f"pytest|{here}|-n|6|--dist|worksteal|-k|a b",
    ]
    assert result.returncode == 5

    whole = fresh.run("test", TUNNELCTL_TEST_COMPILED="1").stdout.splitlines()
    assert [line.split("|")[0] for line in whole[-2:]] == ["compiled", "pytest"]
    assert whole[-1].endswith("|--ignore=tests/e2e"), "what has passed compiled"
    pure = fresh.run("test", TUNNELCTL_TEST_COMPILED="1", EXIT_OF_compiled="5").stdout.splitlines()
    assert pure[-1].endswith("|worksteal"), "nothing was compiled, so nothing is left out"

    failed = fresh.run("test", EXIT_OF_mypy="3")
    assert failed.returncode == 3
    assert [line.split("|")[0] for line in failed.stdout.splitlines()] == ["ruff", "ruff", "mypy"]

    # What the tests need includes what the command needs.
    assert fresh.run("ps").stderr == ""


def test_a_changed_pyproject_is_installed_again_with_what_was_asked_before(ready: Clone) -> None:
    assert ready.run("test").returncode == 0
    ready.pyproject.write_text(PYPROJECT + 'description = "changed"\n')
    result = ready.run("ps")
    assert result.returncode == 0
    assert result.stderr.startswith("preparing .venv ... ok (")
    assert ready.run("test").stderr.startswith("==> ruff")


def test_a_changed_lock_is_installed(ready: Clone) -> None:
    assert ready.run("ps").returncode == 0
    ready.locks["run"].write_text("# nothing else\n")
    assert ready.run("ps").stderr.startswith("preparing .venv ... ok (")
    assert ready.run("ps").stderr == ""


def test_a_package_that_is_not_the_locked_one_is_refused(fresh: Clone) -> None:
    """Whatever an index offers under a name and version: its bytes count."""
    lock = fresh.locks["test"]
    name, _, digest = lock.read_text().strip().rpartition(":")
    lock.write_text(f"{name}:{digest[::-1]}\n")
    refused = fresh.run("test")
    assert refused.returncode == UNAVAILABLE
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in refused.stderr


def test_the_newest_versions_are_checked_beside_the_lock(ready: Clone) -> None:
    """`test --newest` takes what pyproject.toml allows; the next `test` is the lock's again."""
    assert ready.run("test").returncode == 0
    write_wheel(ready.folder / "wheels", "tools", dict.fromkeys(CHECKS, "tool"), version="2")

    def installed() -> str:
        python = str(ready.venv / "bin" / "python")
        code = "import importlib.metadata as m; print(m.version('tools'))"
        return subprocess.run(
            [python, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()

    newest = ready.run("test", "--newest", "-k", "word")
    assert newest.returncode == 0, newest.stderr
    assert newest.stdout.splitlines()[-1].endswith("|-k|word")
    assert installed() == "2"
    assert ready.run("test").returncode == 0
    assert installed() == "1"


def test_a_moved_clone_works_in_its_new_place(ready: Clone, tmp_path: Path) -> None:
    moved = Clone(tmp_path / "elsewhere")
    shutil.copytree(ready.venv, moved.venv, symlinks=True)
    result = moved.run("ps")
    assert result.returncode == 0, result.stderr
    command = subprocess.run([moved.venv / "bin" / "tunnelctl"], capture_output=True, check=True)
    assert command.stdout
    assert str(ready.folder) not in (moved.venv / "bin" / "tunnelctl").read_text()


@pytest.mark.parametrize("reached", ["bin/python", "bin/pip"])
def test_a_killed_first_run_is_made_good_by_the_next(fresh: Clone, reached: str) -> None:
    with fresh.start("ps") as process:
        eventually((fresh.venv / reached).exists, f"the first run reaches {reached}", 60)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    result = fresh.run("ps")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["words"] == ["ps"]


def test_an_interrupted_first_run_says_so_without_a_traceback(fresh: Clone) -> None:
    with fresh.start("ps") as process:
        eventually((fresh.venv / "bin" / "python").exists, "the environment is begun", 60)
        os.killpg(process.pid, signal.SIGINT)
        output, talk = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output == ""
    assert talk.startswith("preparing .venv ... failed\nbootstrap.py: interrupted")
    assert "Traceback" not in talk


def test_two_at_once_prepare_once(fresh: Clone) -> None:
    with fresh.start("one") as one, fresh.start("two") as two:
        talks = [process.communicate(timeout=120) for process in (one, two)]
    assert [json.loads(output)["words"] for output, _ in talks] == [["one"], ["two"]]
    said = sorted(talk for _, talk in talks)
    assert said[0].startswith("preparing .venv ... ok (")
    assert said[1] == "waiting for another bootstrap.py that prepares this folder\n"


def test_an_environment_made_by_others_is_used_or_left_alone(fresh: Clone) -> None:
    make = [sys.executable, "-m", "venv"]
    subprocess.run([*make, "--without-pip", str(fresh.venv)], check=True)
    (fresh.venv / "precious").touch()
    refused = fresh.run("ps")
    assert refused.returncode == UNAVAILABLE
    assert "made by something else" in refused.stderr
    assert (fresh.venv / "precious").exists()

    subprocess.run([*make, str(fresh.venv)], check=True)
    used = fresh.run("ps")
    assert used.returncode == 0, used.stderr
    assert (fresh.venv / "precious").exists()


def test_a_failed_installation_shows_pips_words_and_can_be_repeated(fresh: Clone) -> None:
    lock = fresh.locks["run"]
    lock.write_text(f"no-such-package==1 --hash=sha256:{'0' * 64}\n")
    failed = fresh.run("ps")
    assert failed.returncode == UNAVAILABLE
    assert "No matching distribution found for no-such-package" in failed.stderr
    assert "Traceback" not in failed.stderr
    lock.write_text("# nothing\n")
    assert fresh.run("ps").returncode == 0


def test_a_machine_without_venv_is_told_its_own_command(fresh: Clone, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ensurepip.py").write_text("raise ImportError('not installed')")
    result = fresh.run("ps", PATH=str(programs(tmp_path, "dnf")), PYTHONPATH=str(hidden))
    assert result.returncode == UNAVAILABLE
    assert result.stderr.rstrip().endswith("dnf install -y python3 python3-pip")
    assert not fresh.venv.exists()


def test_a_machine_without_openssh_is_told_its_own_command(fresh: Clone, tmp_path: Path) -> None:
    for manager, command in {
        "dnf": "dnf install -y openssh-server openssh-clients",
        "apk": "apk add openssh",
    }.items():
        result = fresh.run("test", PATH=str(programs(tmp_path, manager)))
        assert result.returncode == UNAVAILABLE
        assert result.stderr.rstrip().endswith(command)
    unknown = fresh.run("test", PATH=str(programs(tmp_path)))
    assert unknown.returncode == UNAVAILABLE
    assert "OpenSSH" in unknown.stderr


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may read; pytest's own are private."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_on_debian_a_user_who_is_not_root_is_told_the_command(open_folder: Path) -> None:
    python = Path("/usr/bin/python3")  # root's own interpreters may be out of others' reach
    if os.geteuid() != 0 or not python.exists():
        pytest.skip("needs root, to be another user, and a Python that everyone can run")
    clone = Clone(open_folder / "clone")
    result = subprocess.run(
        [python, clone.folder / "bootstrap.py", "test"],
        env=clone.environ(PATH=str(programs(open_folder, "apt-get"))),
        capture_output=True,
        text=True,
        check=False,
        user=65534,
        extra_groups=[],
    )
    assert result.returncode == UNAVAILABLE
    assert result.stderr.rstrip().endswith(
        "sudo apt-get install -y --no-install-recommends openssh-server openssh-client"
    )


def programs(folder: Path, *names: str) -> Path:
    """A PATH of programs that are there and do nothing."""
    place = folder / f"programs{'-'.join(names)}"
    place.mkdir()
    for name in names:
        (place / name).write_text("#!/bin/sh\n")
        (place / name).chmod(0o755)
    return place


def test_an_older_python_can_read_the_file() -> None:
    ast.parse((ROOT / "bootstrap.py").read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("minor", [8, 9, 10])
def test_an_older_python_is_told_what_is_needed(fresh: Clone, minor: int) -> None:
    python = older_python(minor)
    result = subprocess.run(
        [python, fresh.folder / "bootstrap.py"], capture_output=True, text=True, check=False
    )
    assert result.returncode == UNAVAILABLE
    assert f"tunnelctl needs Python 3.11 or later, this is 3.{minor}." in result.stderr
    assert not fresh.venv.exists()


def older_python(minor: int) -> str:
    """A Python 3.MINOR of this machine that runs; skips the test without one."""
    name = f"python3.{minor}"
    places = [*os.get_exec_path(), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    for place in places:
        candidate = shutil.which(name, path=place)
        if candidate and subprocess.run([candidate, "-c", ""], check=False).returncode == 0:
            return candidate
    pytest.skip(f"no {name} on this machine")
