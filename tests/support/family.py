"""A server's process and whatever it started: signalled together, as a crash or a stop of it is.

A session may leave its parent's process group, so the children are walked instead.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess

from tests.support.processes import descendants, is_halted, is_running
from tests.support.waiting import eventually


class Family:
    """The process and its descendants. Ended once with `stop` or `kill`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._paused: list[int] = []

    @property
    def pid(self) -> int:
        """The process id of the first of them."""
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """The process ids of all others, parents first."""
        return descendants(self.pid)

    def stop(self) -> None:
        """SIGTERM all; those that do not end are killed."""
        family = self._signal_all(signal.SIGTERM)
        self.resume()
        self._end(family)

    def kill(self) -> None:
        """SIGKILL all: what a crash or a power cut of the server is."""
        self._end(self._signal_all(signal.SIGKILL))

    def kill_children(self) -> None:
        """SIGKILL all but the first, which runs on."""
        first, *others = self._halt()
        for pid in others:
            _signal(pid, signal.SIGKILL)
        _signal(first, signal.SIGCONT)

    def pause(self) -> None:
        """SIGSTOP all: the kernel goes on acknowledging, and nobody answers."""
        self._paused = self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let all that `pause` stopped run on."""
        for pid in reversed(self._paused):
            _signal(pid, signal.SIGCONT)
        self._paused = []

    def _signal_all(self, number: signal.Signals) -> list[int]:
        family = self._halt()
        for pid in family:
            _signal(pid, number)
            if number is not signal.SIGSTOP:
                _signal(pid, signal.SIGCONT)
        return family

    def _halt(self) -> list[int]:
        """Stop all, so that none starts another behind our back.

        A session that has just let its user in is about to: it would outlive its family.
        """
        family: list[int] = []
        while (found := [self.pid, *self.children]) != family:
            family = found
            for pid in family:
                _signal(pid, signal.SIGSTOP)
            eventually(functools.partial(_all_halted, family), "the server halts")
        return family

    def _end(self, family: list[int]) -> None:
        # A session that lost its parent is not ours to wait for: see it go, or make it.
        try:
            self._process.wait(timeout=10)
            eventually(lambda: not any(map(is_running, family)), "the server's sessions end", 5)
        except (subprocess.TimeoutExpired, AssertionError):
            for pid in family:
                _signal(pid, signal.SIGKILL)
            self._process.wait()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _all_halted(pids: list[int]) -> bool:
    return all(map(is_halted, pids))
