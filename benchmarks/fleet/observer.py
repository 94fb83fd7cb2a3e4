"""Clients that connect every 50 ms, at the servers' ports and at every machine's own.

Owns what was seen: each answer has the machine's name and its token. An answer with a smaller token
than one that was seen before is a violation: its machine passed bytes on although another held the
profile.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass

from tests.support.fleet import FleetScene
from tests.support.services import connect

_EVERY = 0.05  # seconds
_ANSWERED_WITHIN = 3.0
_MOST = 64  # bytes


@dataclass(frozen=True)
class Answer:
    """One answer at the first server's port: when, from which machine, with which token."""

    at: float
    machine: str
    token: int


class Observer:
    """Watches from its creation until `close`."""

    def __init__(self, scene: FleetScene) -> None:
        self.answers: list[Answer] = []  # of clients of the first server's port
        self.count = 0
        self.violations: list[str] = []
        self._newest = 0
        self._lock = threading.Lock()
        self._end = threading.Event()
        ports = [*scene.remotes, *(machine.local for machine in scene.machines)]
        self._threads = [
            threading.Thread(target=self._watch, args=(port, port == scene.remote), name="observer")
            for port in ports
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    def gap(self, since: float) -> float:
        """The longest time without an answer at the first server's port since then (monotonic)."""
        with self._lock:
            times = [answer.at for answer in self.answers]
        before = [at for at in times if at <= since][-1:]
        after = [at for at in times if at > since]
        seen = [*before, *after, time.monotonic()]
        return max((b - a for a, b in itertools.pairwise(seen)), default=0.0)

    def answered_since(self, since: float) -> Answer | None:
        """The first answer at the first server's port after a time."""
        with self._lock:
            return next((answer for answer in self.answers if answer.at > since), None)

    @property
    def last(self) -> Answer | None:
        """The last answer at the first server's port."""
        with self._lock:
            return self.answers[-1] if self.answers else None

    def _watch(self, port: int, is_shared: bool) -> None:
        while not self._end.wait(_EVERY):
            with contextlib.suppress(OSError, ValueError):
                with connect(port, _ANSWERED_WITHIN) as client:
                    said = client.recv(_MOST).decode()
                name, token = said.split()
                self._note(Answer(time.monotonic(), name, int(token)), is_shared=is_shared)

    def _note(self, answer: Answer, *, is_shared: bool) -> None:
        with self._lock:
            self.count += 1
            if 0 < answer.token < self._newest:
                self.violations.append(
                    f"{answer.machine} answered with token {answer.token} after {self._newest}"
                )
            self._newest = max(self._newest, answer.token)
            if is_shared:
                self.answers.append(answer)
