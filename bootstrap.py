#!/usr/bin/env python3
"""From a fresh clone to a running tunnelctl; needs only Python.

    python3 bootstrap.py up dev             prepare .venv, then run `tunnelctl up dev`
    python3 bootstrap.py test [PYTEST ARG]  prepare .venv, then run every check (see CHECKS)
    python3 bootstrap.py test --newest …    the same with the newest versions of its dependencies

The packages that it installs are pinned, with hashes, in requirements/ (written by tools/lock.py).

Owns `.venv` beside this file, and the list of checks that `make check` and CI run. Uses the
standard library only, because nothing else is installed yet; its syntax is that of Python 3.8, so
that an old Python prints what is missing instead of a SyntaxError. Must never remove a `.venv` that
it did not make, and never hide the exit code or the signals of the program that it runs: it becomes
that program (execv), or its init if it is process 1 of a container.

Its own exit codes: 69 something required is missing (the message says how to install it), 130
interrupted.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

NEEDED_PYTHON = (3, 11)
UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits(3)
INTERRUPTED = 130
OUTPUT_LINES_SHOWN = 30  # of a failed command; the reason is at the end

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
DISCARDED = ROOT / ".venv.old"
STAMP = VENV / "bootstrap.json"

# The tests of the data path, against a wheel in which it is compiled.
COMPILED = ("python", "-m", "tools.compiled")
# Run in this order by `bootstrap.py test`, which is all that `make check` and CI call. The last one
# gets the arguments of the command line. COMPILED takes minutes and runs if .ci/run asks for it
# (TEST_COMPILED); then the last one leaves out IN_COMPILED, the end-to-end tests, which have passed
# there. Six workers on two processors, because tests wait for servers, timers and processes as long
# as they compute. An idle worker takes tests from the others, because a test lasts from a
# millisecond to two minutes.
TEST_COMPILED = "TUNNELCTL_TEST_COMPILED"
IN_COMPILED = "tests/e2e"
NOTHING_COMPILED = 5  # its exit code without a C compiler; as pytest's, if there are no tests
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
    COMPILED,
    ("pytest", "-n", "6", "--dist", "worksteal"),
)


class PackageManager(NamedTuple):
    """The package manager of a system, and the names of the packages there."""

    install: str
    python: str
    openssh: str


PACKAGE_MANAGERS = {
    "apt-get": PackageManager(
        "apt-get install -y --no-install-recommends",
        "python3-venv",
        "openssh-server openssh-client",
    ),
    "dnf": PackageManager(
        "dnf install -y", "python3 python3-pip", "openssh-server openssh-clients"
    ),
    "zypper": PackageManager("zypper install -y", "python3 python3-pip", "openssh"),
    "pacman": PackageManager("pacman -S --needed --noconfirm", "python", "openssh"),
    "apk": PackageManager("apk add", "python3 py3-pip", "openssh"),
    "brew": PackageManager("brew install", "python", "openssh"),
}


class CannotPrepareError(Exception):
    """Something required is missing; the text says what, and how to install it."""


def main(arguments: list[str]) -> int:
    """Prepare what the arguments require and become that program; returns only if that failed."""
    try:
        require_python()
        testing = arguments[:1] == ["test"]
        newest = testing and arguments[1:2] == ["--newest"]
        prepare(testing, newest)
        if testing:
            return run_checks(arguments[2 if newest else 1 :])
        return become("tunnelctl", arguments or ["--help"])
    except CannotPrepareError as error:
        print(f"bootstrap.py: {error}", file=sys.stderr)
        return UNAVAILABLE
    except OSError as error:
        print(f"bootstrap.py: cannot prepare {VENV}: {error}", file=sys.stderr)
        return UNAVAILABLE
    except KeyboardInterrupt:
        print("bootstrap.py: interrupted; run it again to start over", file=sys.stderr)
        return INTERRUPTED


def become(program: str, arguments: list[str]) -> int:
    """Replace this process by a program of `.venv`."""
    path = str(VENV / "bin" / program)
    if os.getpid() != 1:
        os.execv(path, [path, *arguments])
    return serve_as_init([path, *arguments])


def serve_as_init(command: list[str]) -> int:
    """As process 1 of a container, run the command as a child; returns its exit code.

    Process 1 inherits every orphan, which other programs do not expect: orphans would stay zombies,
    or look like children of the program. Signals to process 1 are passed to the command. The
    command has the terminal, which sends it Ctrl-C directly.
    """
    terminal = os.isatty(0)
    passed_on = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
    awaited = {*passed_on, signal.SIGCHLD}
    # Blocked, so that they wait for sigwait; a handler would miss a signal just before wait(2).
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        if terminal:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # tcsetpgrp from the background
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
        os.execv(command[0], command)
    while True:
        received = signal.sigwait(awaited)
        if received in passed_on:
            os.kill(child, received)
            continue
        status = reap(child)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def reap(child: int) -> int | None:
    """Collect ended processes until `child` is one of them; returns its wait status, else None."""
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended in (0, child):
            return status if ended else None


def run_checks(pytest_arguments: list[str]) -> int:
    """Run CHECKS in the project's folder; stops at the first failure, with its exit code."""
    os.chdir(ROOT)
    # The tests start thousands of Pythons, each of which would compile the package again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    *before, (last, *usual) = CHECKS
    for program, *arguments in before:
        is_compiled = (program, *arguments) == COMPILED
        if is_compiled and not os.environ.get(TEST_COMPILED):
            continue
        say(f"==> {' '.join([program, *arguments])}\n")
        status = subprocess.run([str(VENV / "bin" / program), *arguments], check=False).returncode
        if is_compiled and status == NOTHING_COMPILED:
            continue
        if status != 0:
            return status if status > 0 else 128 - status  # a signal, as shells report it
        if is_compiled and not pytest_arguments:
            usual = [*usual, f"--ignore={IN_COMPILED}"]
    arguments = [*usual, *pytest_arguments]
    say(f"==> {' '.join([last, *arguments])}\n")
    return become(last, arguments)


# --- .venv ------------------------------------------------------------------------------------


def prepare(testing: bool, newest: bool) -> None:
    """Make sure that `.venv` and the system have what is needed, for tests if `testing`.

    If the stamp is current, nothing else is done. The lock is on this file: no lock file is left,
    and the kernel releases it. Child processes hold it too, so that a pip that outlives a killed
    bootstrap.py is waited for.
    """
    if is_ready(testing, newest):
        return
    with Path(__file__).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another bootstrap.py that prepares this folder\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if testing and not has_openssh():
            install_openssh()
        if not is_ready(testing, newest):
            if not can_make_venv():
                install_venv_module()
            with progress("preparing .venv"):
                fill_venv({"test"} if testing else set(), lock.fileno(), newest)


def is_ready(testing: bool, newest: bool) -> bool:
    """Whether `.venv` is complete for the current pyproject.toml and lock files, by its stamp."""
    stamp = read_stamp()
    complete = belongs_here(stamp) and stamp.get("dependencies") == dependencies_hash(newest)
    if testing:
        return complete and "test" in stamp.get("extras", ()) and has_openssh()
    return complete


def belongs_here(stamp: dict[str, Any]) -> bool:
    """Whether `.venv` was completed by this Python in this folder: its scripts contain both
    paths."""
    return (
        stamp.get("python") == python_name()
        and stamp.get("folder") == str(ROOT)
        and (VENV / "bin" / "python").exists()
    )


def fill_venv(extras: set[str], lock: int, newest: bool) -> None:
    """Make `.venv` if it is missing or unusable, and install the package into it.

    Its dependencies are the pinned ones, with hashes, or the `newest` that pyproject.toml allows.
    The stamp is written first and completed last, so that an environment that was left incomplete
    is recognized as ours and made again.
    """
    stamp = read_stamp()
    ours = stamp.get("ours", not VENV.exists() or not any(VENV.iterdir()))
    if belongs_here(stamp):
        extras = extras.union(stamp.get("extras", ()))
    elif ours:
        make_venv(lock)
    elif not has_pip():
        raise CannotPrepareError(
            f"{VENV} was made by something else and has no pip for {python_name()}: "
            "move it away and run this again"
        )
    write_stamp({"ours": ours})
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install"]
    if newest:
        package = f".[{','.join(sorted(extras))}]" if extras else "."
        upgrade = ["--upgrade", "--upgrade-strategy", "eager"]
        run_quietly([*pip, *upgrade, "-e", package], lock)
    else:
        locked = [word for path in lock_files(extras) for word in ("-r", str(path))]
        run_quietly([*pip, "--require-hashes", *locked], lock)
        # A folder has no hash; its build requirements are pinned too.
        run_quietly([*pip, "--no-deps", "--no-build-isolation", "-e", "."], lock)
    write_stamp(
        {
            "ours": ours,
            "python": python_name(),
            "folder": str(ROOT),
            "dependencies": dependencies_hash(newest),
            "extras": sorted(extras),
        }
    )


def make_venv(lock: int) -> None:
    """Replace our environment by a new one.

    The old one is renamed first, because removal takes a while, and an environment that is partly
    removed, without its stamp, would look like somebody else's.
    """
    if DISCARDED.exists():
        shutil.rmtree(DISCARDED)
    if VENV.exists():
        VENV.rename(DISCARDED)
        shutil.rmtree(DISCARDED)
    VENV.mkdir()
    write_stamp({"ours": True})
    # The base interpreter, because the current one may be in the old environment.
    base = getattr(sys, "_base_executable", None) or sys.executable
    run_quietly([base, "-m", "venv", str(VENV)], lock)


def has_pip() -> bool:
    """Whether a `.venv` that we did not make has pip for this kind of Python."""
    probe = "import pip, sys; print(sys.implementation.cache_tag)"
    command = [str(VENV / "bin" / "python"), "-c", probe]
    try:
        answer = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except OSError:
        return False
    return answer.stdout.strip() == sys.implementation.cache_tag


def read_stamp() -> dict[str, Any]:
    """The stamp of `.venv`; empty if there is none."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(stamp: dict[str, Any]) -> None:
    """Replace the stamp atomically."""
    fresh = STAMP.with_suffix(".new")
    fresh.write_text(json.dumps(stamp), encoding="utf-8")
    fresh.replace(STAMP)


def python_name() -> str:
    """Implementation, minor version and machine type: an environment works only with these."""
    return f"{sys.implementation.cache_tag}-{os.uname().machine}"


def lock_files(extras: set[str]) -> list[Path]:
    """The lock files for running and building tunnelctl, and for each of `extras`."""
    names = ["run", "build", *sorted(extras)]
    return [ROOT / "requirements" / f"{name}.txt" for name in names]


def dependencies_hash(newest: bool) -> str:
    """Changes when the dependencies change, and for `newest` every day."""
    files = [ROOT / "pyproject.toml", *lock_files({"test"})]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"{digest} {time.strftime('%Y-%m-%d')}" if newest else digest


# --- the system -------------------------------------------------------------------------------


def require_python() -> None:
    """Refuse a Python that is too old, and name a newer one that is installed."""
    if sys.version_info[:2] >= NEEDED_PYTHON:
        return
    major, minor = NEEDED_PYTHON
    newer = [f"python{major}.{minor + step}" for step in range(10)]
    found = [name for name in newer if shutil.which(name)]
    advice = f"run it with {found[-1]}" if found else "install a newer one"
    here = ".".join(map(str, sys.version_info[:3]))
    raise CannotPrepareError(
        f"tunnelctl needs Python {major}.{minor} or later, this is {here} "
        f"({sys.executable}): {advice}"
    )


def can_make_venv() -> bool:
    """Whether `python3 -m venv` works. A new process is asked, because it sees new packages."""
    command = [sys.executable, "-c", "import venv, ensurepip; ensurepip.version()"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def install_venv_module() -> None:
    """Debian has half of venv in another package."""
    install("a Python that can make virtual environments", lambda manager: manager.python)
    if not can_make_venv():
        raise CannotPrepareError(
            f"{sys.executable} cannot make virtual environments (no ensurepip): "
            "run this with the system's own python3"
        )


def has_openssh() -> bool:
    """Whether a real OpenSSH is installed, which the tests need."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
    return all(shutil.which(name, path=path) for name in ("sshd", "ssh", "ssh-keygen"))


def install_openssh() -> None:
    """Install the programs only; the tests start their own servers."""
    install("OpenSSH's server and client for the tests", lambda manager: manager.openssh)


def install(what: str, choose: Callable[[PackageManager], str]) -> None:
    """Install system packages as root on Debian; elsewhere raise with the command for it."""
    name = next((name for name in PACKAGE_MANAGERS if shutil.which(name)), None)
    if name is None:
        raise CannotPrepareError(f"needs {what}: install it and run this again")
    manager = PACKAGE_MANAGERS[name]
    packages = choose(manager)
    command = f"{manager.install} {packages}"
    is_root = os.geteuid() == 0
    if not (is_root and name == "apt-get"):
        sudo = "" if is_root or name == "brew" else "sudo "
        raise CannotPrepareError(f"needs {what}; install it with\n  {sudo}{command}")
    with progress(f"installing {packages}"):
        # A minimal system has no package lists, an old image outdated ones.
        run_quietly(["apt-get", "update"])
        run_quietly(["env", "DEBIAN_FRONTEND=noninteractive", *command.split()])


def run_quietly(command: list[str], *inherited: int) -> None:
    """Run a command in the project's folder; its output is shown only if it fails.

    `inherited` are descriptors that stay open in it.
    """
    done = subprocess.run(
        command,
        cwd=ROOT,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        pass_fds=inherited,
    )
    if done.returncode != 0:
        lines = done.stdout.splitlines()[-OUTPUT_LINES_SHOWN:]
        shown = "".join(f"\n  {line}" for line in lines)
        raise CannotPrepareError(f"`{' '.join(command)}` failed{shown}")


@contextmanager
def progress(what: str) -> Iterator[None]:
    """One line on stderr: the task, its result and its duration."""
    say(f"{what} ... ")
    began = time.monotonic()
    try:
        yield
    except BaseException:
        say("failed\n")
        raise
    say(f"ok ({time.monotonic() - began:.0f} s)\n")


def say(text: str) -> None:
    """Write to stderr; stdout belongs to the program that this becomes."""
    sys.stderr.write(text)
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
