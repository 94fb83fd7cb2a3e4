"""Watches for causes to act without an order: a changed network, a resume, a removed socket file.

Owns the watches of these, for the daemon and for tunnels in a program's own process.
"""

from __future__ import annotations

import asyncio

from tunnelctl.net.network import NetworkWatch, ResumeWatch
from tunnelctl.supervisor.supervisor import Supervisor
from tunnelctl.supervisor.tasks import Tasks

_SOCKETS_EVERY = 2.0  # seconds between two checks of the files of unix listeners


class Watches:
    """Works from its creation, on the running loop, until `close`."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._tasks = Tasks("watches")
        self._moments = (NetworkWatch(supervisor.hurry), ResumeWatch(supervisor.hurry))
        self._tasks.spawn(self._look_for_sockets(), "look for unix sockets")

    async def close(self) -> None:
        """Stop watching."""
        for watch in self._moments:
            watch.close()
        self._tasks.cancel()
        await self._tasks.settle()

    async def _look_for_sockets(self) -> None:
        while True:
            await asyncio.sleep(_SOCKETS_EVERY)
            await self._supervisor.look()
