"""The list of wanted profiles while a daemon runs: each version of it gets to the disk in time.

Owns the file that wanted_list.py has the form of. Must never keep the daemon from its work: what
cannot be written is one warning, and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from tunnelctl.daemon.troubles import Troubles
from tunnelctl.daemon.wanted.saved import Kept, WantedProfile, load, store
from tunnelctl.errors import Failure
from tunnelctl.forward.remote.held_ports import HeldPort
from tunnelctl.net.threads import in_thread
from tunnelctl.supervisor.tasks import Tasks

_AGAIN_AFTER = 30.0  # seconds until a write that failed is tried again
_TROUBLE = "the list of wanted profiles"


class WantedFile:
    """`path` belongs to the daemon that holds the control socket `socket`, and to no other."""

    def __init__(self, path: Path, socket: Path, troubles: Troubles) -> None:
        self._path = path
        self._socket = str(socket)
        self._troubles = troubles
        self._tasks = Tasks("daemon")
        self._lock = asyncio.Lock()
        self._latest = Kept()
        self._written: Kept | None = Kept()
        self._again: asyncio.TimerHandle | None = None

    def read(self) -> tuple[WantedProfile, ...]:
        """What the last daemon had. Blocking. A file that makes no sense counts as empty, and is
        set aside before another takes its place."""
        try:
            self._latest = self._written = load(self._path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as error:
            self._written = None
            self._troubles.begin(
                _TROUBLE,
                f"{self._path} is not used, nothing of it is brought up: {error}; it is kept as "
                f"{_aside(self._path).name}",
            )
        return self._latest.profiles

    @property
    def held(self) -> tuple[HeldPort, ...]:
        """The ports that servers hold for us, as they were read or saved last."""
        return self._latest.held

    def save(
        self, profiles: Iterable[WantedProfile], held: Iterable[HeldPort] = ()
    ) -> asyncio.Task[None]:
        """Begin to write; whoever must not go on before it is on disk waits for the task."""
        return self._begin(Kept(tuple(profiles), tuple(held)))

    def _begin(self, latest: Kept) -> asyncio.Task[None]:
        self._latest = latest
        return self._tasks.spawn(self._save(), "save what is wanted")

    async def close(self, seconds: float) -> None:
        """Wait for what is being written, no longer than `seconds`."""
        if self._again is not None:
            self._again.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._tasks.settle()

    async def _save(self) -> None:
        async with self._lock:
            latest = self._latest
            if latest == self._written:
                self._troubles.end(_TROUBLE)
                return
            try:
                await in_thread(lambda: self._replace(latest), "wanted profiles")
            except (OSError, Failure) as error:
                why = (isinstance(error, OSError) and error.strerror) or error
                self._troubles.begin(
                    _TROUBLE,
                    f"cannot save to {self._path} which profiles are wanted: {why}; "
                    "the next daemon brings up what it says now",
                )
                self._try_again()
            else:
                self._written = latest
                self._troubles.end(_TROUBLE)

    def _replace(self, kept: Kept) -> None:
        if self._written is None:
            with contextlib.suppress(OSError):  # it is not there any more
                os.replace(self._path, _aside(self._path))
        store(self._path, self._socket, kept)

    def _try_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
        loop = asyncio.get_running_loop()
        self._again = loop.call_later(_AGAIN_AFTER, lambda: self._begin(self._latest))


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.unused")
