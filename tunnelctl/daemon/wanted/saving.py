"""Writes the list of wanted profiles to disk while a daemon runs.

Owns the file, whose format is that of `saved.py`. Must never block the daemon: a failed write is
one warning, and is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from tunnelctl.daemon import sentences
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.daemon.wanted.saved import Kept, WantedProfile, load, store
from tunnelctl.errors import Failure
from tunnelctl.forward.remote.held_ports import HeldPort
from tunnelctl.net.threads import in_thread
from tunnelctl.supervisor.tasks import Tasks

_AGAIN_AFTER = 30.0  # seconds until a failed write is tried again
_TROUBLE = "the list of wanted profiles"


class WantedFile:
    """`path` belongs to the daemon with the control socket `socket`, and to no other."""

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
        """The list of the last daemon. Blocking. A malformed file counts as empty, and is renamed
        before another replaces it."""
        try:
            self._latest = self._written = load(self._path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as error:
            self._written = None
            self._troubles.begin(
                _TROUBLE,
                sentences.wanted_ignored(self._path, str(error), _aside(self._path).name),
            )
        return self._latest.profiles

    @property
    def held(self) -> tuple[HeldPort, ...]:
        """The ports that servers hold for us, as last read or saved."""
        return self._latest.held

    def save(
        self, profiles: Iterable[WantedProfile], held: Iterable[HeldPort] = ()
    ) -> asyncio.Task[None]:
        """Start to write. The returned task ends once the list is on disk."""
        return self._begin(Kept(tuple(profiles), tuple(held)))

    def _begin(self, latest: Kept) -> asyncio.Task[None]:
        self._latest = latest
        return self._tasks.spawn(self._save(), "save what is wanted")

    async def close(self, seconds: float) -> None:
        """Wait for a write under way, for at most `seconds`."""
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
                    sentences.wanted_not_saved(self._path, str(why)),
                )
                self._try_again()
            else:
                self._written = latest
                self._troubles.end(_TROUBLE)

    def _replace(self, kept: Kept) -> None:
        if self._written is None:
            with contextlib.suppress(OSError):  # the file was removed
                os.replace(self._path, _aside(self._path))
        store(self._path, self._socket, kept)

    def _try_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
        loop = asyncio.get_running_loop()
        self._again = loop.call_later(_AGAIN_AFTER, lambda: self._begin(self._latest))


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.unused")
