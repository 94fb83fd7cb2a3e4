"""Whether the files of unix listeners are still there: cleaners and users remove them.

Such a socket listens on, and nobody can find it. Must never wait on the loop for a file system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from tunnelctl.errors import Failure
from tunnelctl.forward.listener import Listener
from tunnelctl.net.threads import in_thread
from tunnelctl.supervisor.forwards.local_forwarding import LocalForwarding

_WITHIN = 1.0  # seconds; a file system that takes longer is asked, but not waited for


class SocketFiles:
    """`listeners` has those of all profiles."""

    def __init__(self, listeners: Callable[[], Sequence[LocalForwarding]]) -> None:
        self._listeners = listeners
        self._looking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Bind anew what clients cannot find any more; one look at a time, which all wait for."""
        if self._looking is None or self._looking.done():
            items = tuple(self._listeners())
            if not items:
                return
            self._looking = asyncio.create_task(_mend(items), name="look for unix sockets")
        await asyncio.wait([self._looking], timeout=_WITHIN)


async def _mend(items: Sequence[LocalForwarding]) -> None:
    with suppress(Failure):  # no thread is left; the next look may have one
        lost = await in_thread(lambda: _lost(items), "look for unix sockets")
        for item, listener in lost:
            item.bind_anew(listener)
        await asyncio.gather(*(item.settled() for item, _ in lost))


def _lost(items: Sequence[LocalForwarding]) -> list[tuple[LocalForwarding, Listener]]:
    """Those that cannot be found, each with the listener of which that is true."""
    found = [(item, item.side.listener) for item in items]
    return [(item, one) for item, one in found if one is not None and not one.is_in_place]
