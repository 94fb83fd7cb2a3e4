"""What runs, read from /proc: the children of a process, and who has a word in its environment."""

from __future__ import annotations

from pathlib import Path


def _parents() -> dict[int, int]:
    """The parent of every process that still runs (zombies left out)."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may itself hold spaces and parentheses.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX":
                found[int(entry.name)] = int(fields[1])
    return found


def descendants(pid: int) -> list[int]:
    """All children of `pid` and their children, parents first."""
    parents = _parents()
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family[1:]


def is_running(pid: int) -> bool:
    """Whether `pid` is a process that has not ended (a zombie has)."""
    return pid in _parents()


def is_halted(pid: int) -> bool:
    """Whether `pid` does nothing any more: it is stopped (SIGSTOP has arrived), or has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "TtZX"


def with_environment(assignment: str) -> list[int]:
    """Every process that was started with `NAME=value` in its environment."""
    wanted = assignment.encode()
    found = []
    for pid in _parents():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in environment:
            found.append(pid)
    return found


def command_line(pid: int) -> str:
    """The words a process was started with, for messages."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"process {pid}"
    return " ".join(word.decode(errors="replace") for word in words if word)
