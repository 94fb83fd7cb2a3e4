"""The triggers for reading files again, and for connecting again at once.

Owns the signals SIGHUP (reload, then retry) and SIGUSR1 (retry), and the watches of network,
suspend, the files of unix listeners and, if asked for, profiles' files. Must never act more than
once for a storm of signals.
"""

from __future__ import annotations

import asyncio
import logging
import signal

from tunnelctl.daemon.orders import ReloadOrder
from tunnelctl.daemon.wanted.profiles import Profiles
from tunnelctl.errors import Failure
from tunnelctl.supervisor.supervisor import Supervisor
from tunnelctl.supervisor.tasks import Tasks
from tunnelctl.supervisor.watches import Watches

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGHUP, signal.SIGUSR1)
_FILES_EVERY = 2.0  # seconds between two checks of the profiles' files


class Triggers:
    """Works from its creation until `close`. `watch_files`: changed profiles are reloaded
    automatically."""

    def __init__(
        self, supervisor: Supervisor, profiles: Profiles, *, watch_files: bool = False
    ) -> None:
        self._supervisor = supervisor
        self._profiles = profiles
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks("daemon")
        self._asked_to_reload = asyncio.Event()
        self._loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload.set)
        self._loop.add_signal_handler(signal.SIGUSR1, supervisor.hurry, "SIGUSR1")
        self._watches = Watches(supervisor)
        self._tasks.spawn(self._reload_when_asked(), "reload at SIGHUP")
        if watch_files:
            self._tasks.spawn(self._watch_files(), "watch files")

    async def close(self) -> None:
        """Stop watching. Further signals are ignored."""
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, lambda: None)
        await self._watches.close()
        self._tasks.cancel()
        await self._tasks.settle()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._asked_to_reload.wait()
            self._asked_to_reload.clear()  # a request from here on is another reload
            _log.info("SIGHUP: rereading the profiles")
            await self._reload()
            self._supervisor.hurry("SIGHUP")

    async def _watch_files(self) -> None:
        while True:
            await asyncio.sleep(_FILES_EVERY)
            if await self._profiles.files_changed():
                _log.info("files have changed: rereading them")
                await self._reload()

    async def _reload(self) -> None:
        try:
            done = await self._profiles.reload(ReloadOrder())
        except Failure as failure:
            _log.warning("nothing was reloaded: %s", failure)
            return
        for one in done:
            for change in one.as_json()["changes"]:
                _log.info("%s: %s %s %s", one.name, *change.values())
