"""Keeps the control socket where clients look for it.

Owns the periodic check of its path. The runtime folder of a login session is removed at the last
logout, and cleaners remove old files; a daemon that nobody can reach keeps its ports for ever. Must
never end a daemon that a service manager started.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tunnelctl.daemon.api.server import ControlServer
from tunnelctl.daemon.control_socket import ControlSocket
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.errors import Failure
from tunnelctl.net.threads import in_thread
from tunnelctl.supervisor.tasks import Tasks

_log = logging.getLogger(__name__)

# Seconds between two checks; inotify(7) does not report the removal of the whole folder.
_EVERY = 2.0
_TRIES = 3  # attempts to create it again before an unreachable daemon gives up
_TROUBLE = "the control socket"


class SocketKeeper:
    """Works from its creation until `close`. `on_lost` is called once, with the reason, if the
    socket cannot be created again."""

    def __init__(
        self,
        control: ControlSocket,
        server: ControlServer,
        troubles: Troubles,
        on_lost: Callable[[Failure], None],
    ) -> None:
        self._control = control
        self._server = server
        self._troubles = troubles
        self._on_lost = on_lost
        self._failed = 0  # failed attempts in a row
        self._tasks = Tasks("daemon")
        self._tasks.spawn(self._watch(), "watch the control socket")

    async def close(self) -> None:
        """Stop checking."""
        self._tasks.cancel()
        await self._tasks.settle()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            try:
                if await in_thread(lambda: self._control.is_in_place, "look for the socket"):
                    self._found()
                else:
                    await self._renew()
            except Failure as failure:
                self._troubles.begin(_TROUBLE, f"clients cannot find this daemon: {failure}")
                self._failed += 1
                if self._failed == _TRIES:
                    self._on_lost(failure)

    async def _renew(self) -> None:
        before = await in_thread(self._control.renew, "make the socket again")
        if before is not None:
            await self._server.move(self._control.socket)
            before.close()
        _log.warning("the control socket or its lock was removed; it is restored")
        self._found()

    def _found(self) -> None:
        self._failed = 0
        self._troubles.end(_TROUBLE)
