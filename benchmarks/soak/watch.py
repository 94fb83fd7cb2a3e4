"""Polls the daemon's status: how long an answer takes, and whether it is true.

A status is wrong if it says `up` for longer than a silent peer may stay undetected, while no client
is served. Must never use a command, because the start of Python would be measured too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.soak.ledger import Ledger
from benchmarks.soak.scene import PROFILE, Scene
from tunnelctl.errors import Failure
from tunnelctl.state.documents.snapshot import ProfileState

_STEP = 0.2  # seconds between two requests
_GIVEN_UP_AFTER = 15.0
_MOMENT = 5.0  # seconds that `up` may precede the first client, on a busy machine


class Watch:
    """The status over time, polled in its own thread."""

    def __init__(self, scene: Scene, ledger: Ledger, last_served: Callable[[], float]) -> None:
        self._scene = scene
        self._ledger = ledger
        self._last_served = last_served
        self._thread = threading.Thread(target=self._run, name="watch")
        self._excused = 0
        self._asking = threading.Lock()
        self._up_since: float | None = None
        self._accused = False
        self.took: list[float] = []
        self.reconnects = 0  # of the current daemon
        self.pid = 0

    def start(self) -> None:
        """Start; returns after the first answer."""
        self.look()
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, after the scene is over."""
        self._thread.join()

    @contextmanager
    def excused(self) -> Iterator[None]:
        """The daemon need not answer while the block runs, because we killed or stopped it."""
        self._excused += 1
        try:
            yield
        finally:
            self._excused -= 1
            self._up_since = None

    @contextmanager
    def nobody_comes(self) -> Iterator[None]:
        """No clients are sent while the block runs, so their absence means nothing."""
        self._up_since = None
        self._accused = True
        try:
            yield
        finally:
            self._up_since = None
            self._accused = False

    @contextmanager
    def asks_nothing(self) -> Iterator[None]:
        """No requests are sent while the block runs, so the daemon holds no descriptor for an
        answer."""
        with self._asking:
            yield

    def _run(self) -> None:
        while not self._scene.over.wait(_STEP):
            self.look()

    def look(self) -> None:
        """Send one request."""
        with self._asking:
            self._look()

    def _look(self) -> None:
        excused = self._excused
        asked = time.monotonic()
        try:
            status = self._scene.client.status(within=_GIVEN_UP_AFTER)
        except Failure as failure:
            if not (excused or self._excused or self._scene.over.is_set()):
                self._ledger.violate(f"the daemon does not answer: {failure.message}")
            self._up_since = None
            return
        now = time.monotonic()
        if not (excused or self._excused):
            self.took.append(now - asked)
        profile = next(p for p in status.profiles if p.name == PROFILE)
        self.pid = status.daemon.pid
        self.reconnects = profile.hosts[0].reconnects
        self._judge(profile.state is ProfileState.UP, now)

    def _judge(self, up: bool, now: float) -> None:
        if not up:
            self._up_since = None
            self._accused = False
            return
        if self._up_since is None:
            self._up_since = now
        silent = now - max(self._up_since, self._last_served())
        if silent > self._scene.settings.noticed + _MOMENT and not self._accused:
            self._accused = True
            self._ledger.violate(f"status says up, and nobody got through for {silent:.1f} s")
