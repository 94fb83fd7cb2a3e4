"""Processes, read from /proc: the children of one, and those with a word in their environment."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest

_CAP_SYS_PTRACE = 19  # linux/capability.h


def children(pid: int) -> list[int]:
    """The children of a process, those that have ended and nobody collected among them.

    None of a process that is gone (proc_tid_children(5); each thread has its own).
    """
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """All children of `pid` that run and their children, parents first."""
    family = [pid]
    for member in family:
        family += filter(is_running, children(member))
    return family[1:]


def is_running(pid: int) -> bool:
    """Whether `pid` is a process that has not ended (a zombie has)."""
    return _state(pid) not in "ZX"


def is_zombie(pid: int) -> bool:
    """Whether it has ended and nobody collected it."""
    return _state(pid) == "Z"


def is_halted(pid: int) -> bool:
    """Whether `pid` does nothing any more: it is stopped (SIGSTOP has arrived), or has ended."""
    return _state(pid) in "TtZX"


def _state(pid: int) -> str:
    """The letter of proc_pid_stat(5); `X`, dead, of a process that is gone."""
    try:
        # The name in parentheses may itself hold spaces and parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def with_environment(assignment: str) -> list[int]:
    """Every process that was started with `NAME=value` in its environment."""
    wanted = assignment.encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def with_locks(directory: Path) -> list[int]:
    """Every process that holds a lock of flock(2) on a file below `directory`."""
    inodes = {path.stat().st_ino for path in directory.rglob("*.lock")}
    # Fields of proc_locks(5): ..., FLOCK, ADVISORY, WRITE, PID, MAJOR:MINOR:INODE, ...
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [
        int(fields[4])
        for fields in lines
        if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) in inodes
    ]


def sees_all() -> bool:
    """Whether /proc shows this process what others of its user hide, as the daemon does.

    That takes CAP_SYS_PTRACE (capabilities(7)): root has it, but not in every container.
    """
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_PTRACE & 1)


def command_line(pid: int) -> str:
    """The words a process was started with, for messages."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"process {pid}"
    return " ".join(word.decode(errors="replace") for word in words if word)


def process_one() -> list[str]:
    """The words that run a command as process 1 of a namespace; skips the test without them."""
    command = ["unshare", "--pid", "--fork", "--kill-child"]
    available = shutil.which("unshare") is not None
    if not available or subprocess.run([*command, "true"], check=False).returncode != 0:
        pytest.skip("cannot make a PID namespace here")
    return command
