"""Checks that the files of unix sockets still exist: cleanup jobs and users remove them.

Such a socket still listens, but nobody can find it. Must never wait on the loop for a file system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from tunnelctl.errors import Failure
from tunnelctl.forward.listener import Listener
from tunnelctl.net.threads import in_thread
from tunnelctl.supervisor.forwards.local_forwarding import LocalForwarding

_WITHIN = 1.0  # seconds; a slower file system is checked, but not waited for


class SocketFiles:
    """`listeners` returns those of all profiles."""

    def __init__(self, listeners: Callable[[], Sequence[LocalForwarding]]) -> None:
        self._listeners = listeners
        self._looking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Bind again the sockets that clients cannot find; one check at a time, shared by all
        callers."""
        if self._looking is None or self._looking.done():
            items = tuple(self._listeners())
            if not items:
                return
            self._looking = asyncio.create_task(_mend(items), name="look for unix sockets")
        await asyncio.wait([self._looking], timeout=_WITHIN)


async def _mend(items: Sequence[LocalForwarding]) -> None:
    with suppress(Failure):  # no thread is free; the next check may have one
        lost = await in_thread(lambda: _lost(items), "look for unix sockets")
        for item, listener in lost:
            item.bind_anew(listener)
        await asyncio.gather(*(item.settled() for item, _ in lost))


def _lost(items: Sequence[LocalForwarding]) -> list[tuple[LocalForwarding, Listener]]:
    """The forwards whose socket cannot be found, each with that listener."""
    found = [(item, item.side.listener) for item in items]
    return [(item, one) for item, one in found if one is not None and not one.is_in_place]
