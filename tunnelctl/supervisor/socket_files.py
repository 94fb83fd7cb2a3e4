"""Whether the files of unix listeners are still there: cleaners and users remove them.

Such a socket listens on, and nobody can find it. Must never wait on the loop for a file system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from tunnelctl.errors import Failure
from tunnelctl.net.threads import in_thread
from tunnelctl.supervisor.forwarding import LocalForwarding

_WITHIN = 1.0  # seconds; a file system that takes longer is asked, but not waited for


class SocketFiles:
    """`listeners` has those of all profiles."""

    def __init__(self, listeners: Callable[[], Sequence[LocalForwarding]]) -> None:
        self._listeners = listeners
        self._looking: asyncio.Future[list[LocalForwarding]] | None = None

    async def look(self) -> None:
        """Bind anew what clients cannot find any more; one look at a time, which all wait for."""
        if self._looking is None or self._looking.done():
            items = tuple(self._listeners())
            if not items:
                return
            with suppress(Failure):  # no thread is left; the next look may have one
                self._looking = in_thread(lambda: _lost(items), "look for unix sockets")
                self._looking.add_done_callback(_bind_anew)
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=_WITHIN)


def _lost(items: Sequence[LocalForwarding]) -> list[LocalForwarding]:
    return [item for item in items if not item.side.is_in_place]


def _bind_anew(looked: asyncio.Future[list[LocalForwarding]]) -> None:
    for item in looked.result():
        if not item.is_stopped and not item.side.is_in_place:  # not reopened meanwhile
            item.bind_anew()
