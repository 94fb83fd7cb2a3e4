"""The threads, open files and child processes of this process, to find leaks."""

from __future__ import annotations

import dataclasses
import gc
import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import command_line, descendants
from tests.support.waiting import eventually

# How often a test makes a failure that must leave nothing: a multiple of ten. What leaks each time
# shows at once; to look for what leaks now and then, run with TUNNELCTL_LEAK_TRIES=50 or more.
TRIES = int(os.environ.get("TUNNELCTL_LEAK_TRIES", "20"))
_GRACE = 5.0  # seconds for what is ending already to end


@dataclass(frozen=True)
class Holdings:
    """A moment's threads, file descriptors and children, each with words that name it."""

    threads: dict[threading.Thread, str]
    files: dict[tuple[int, str], str]
    children: dict[int, str]

    def beyond(self, before: Holdings) -> list[str]:
        """Everything that is held now and was not before."""
        return [
            *(f"thread {name}" for key, name in self.threads.items() if key not in before.threads),
            *(f"file {name}" for key, name in self.files.items() if key not in before.files),
            *(f"child {name}" for key, name in self.children.items() if key not in before.children),
        ]


@contextmanager
def nothing_left(besides: Callable[[], Collection[int]] = tuple) -> Iterator[None]:
    """Fails a test that leaves a thread, a file descriptor or a child process behind.

    `besides` are the process ids of children that are somebody else's affair.
    """
    before = holdings()
    yield
    gc.collect()  # what only a cycle keeps alive is closed, loudly, by now

    def left() -> list[str]:
        others = besides()
        now = holdings()
        children = {pid: name for pid, name in now.children.items() if pid not in others}
        return dataclasses.replace(now, children=children).beyond(before)

    try:
        eventually(lambda: not left(), "all is given back", _GRACE)
    except AssertionError:
        lines = "\n  ".join(left())
        pytest.fail(f"the test leaves behind:\n  {lines}", pytrace=False)


def holdings() -> Holdings:
    """The current holdings of this process."""
    return Holdings(
        threads={thread: thread.name for thread in threading.enumerate()},
        files=_open_files(),
        children={pid: f"{pid} ({command_line(pid)})" for pid in descendants(os.getpid())},
    )


def _open_files() -> dict[tuple[int, str], str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # the descriptor of this very listing
        found[int(entry.name), target] = f"descriptor {entry.name} -> {target}"
    return found
