"""The inspector of a daemon, and its part for each inspected forward.

Owns the store, the backlog, and the parser's thread, which starts with the first inspected forward.
Used from the loop. Must never import h11: `worker.py` does, in its thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from tunnelctl.inspect import sentences
from tunnelctl.inspect.backlog import BYTES_MAX, Backlog
from tunnelctl.inspect.reasons import NotInspectedCounts, Reason
from tunnelctl.inspect.store import RequestStore
from tunnelctl.inspect.tap import ConnectionTap, Tapped
from tunnelctl.inspect.worker import Worker
from tunnelctl.net.threads import ended
from tunnelctl.state.documents.exchange import HttpExchange

_log = logging.getLogger(__name__)

_THREAD_ENDS_WITHIN = 1.0  # seconds
_DIGITS = 20  # of a number of an exchange: int() refuses thousands
# Seconds between two answers to one follower: a stream of events changes its exchange all the time.
_FOLLOW_STEP = 0.1


class Inspector:
    """One for the daemon. `room` is for bytes that wait for the parser."""

    def __init__(self, loop: asyncio.AbstractEventLoop, room: int = BYTES_MAX) -> None:
        self._loop = loop
        self._store = RequestStore()
        self._backlog = Backlog(room)
        self._worker: Worker | None = None
        self._followers: set[asyncio.Event] = set()

    def inspect(self, forward: str) -> Inspection:
        """Begin to inspect a forward, PROFILE/FORWARD."""
        if self._worker is None:
            try:
                self._worker = Worker(self._loop, self._backlog, self._store, self._changed)
            except RuntimeError as error:  # pthread_create(3): what comes is counted as overload
                _log.warning("no thread for the inspector: %s", error)
        return Inspection(forward, self._store, self._backlog, self._followers)

    async def close(self) -> None:
        """End the thread."""
        if self._worker is not None:
            self._worker.close()
            await ended(self._worker.thread, _THREAD_ENDS_WITHIN)
            self._worker = None

    def _changed(self) -> None:
        for follower in self._followers:
            follower.set()


class Inspection:
    """One forward, from `inspect: http` until it is taken away or the forward is closed."""

    def __init__(
        self, forward: str, store: RequestStore, backlog: Backlog, followers: set[asyncio.Event]
    ) -> None:
        self.forward = forward
        self.store = store
        self.backlog = backlog
        self._followers = followers
        self._counts = NotInspectedCounts()
        self.live: set[Tapped] = set()  # their connections have not ended
        self.is_closed = False

    def tap(self, client: str, connection: str, *, client_is_socket: bool) -> ConnectionTap:
        """The tap for a new connection, of which the list of connections says `client` and its id;
        `client_is_socket`: its relay's socket is the client's."""
        tapped = Tapped(self.forward, client, connection, self._counts)
        self.live.add(tapped)
        return ConnectionTap(
            tapped, self.backlog, self.live.discard, client_is_socket=client_is_socket
        )

    def summary(self) -> dict[str, Any]:
        """The members of `GET /v1/requests/…` besides the exchanges."""
        return {
            "forward": self.forward,
            "not_inspected": self._counts.as_json(),
            "dropped": self.store.dropped(self.forward),
        }

    def last(self, count: int | None = None) -> list[HttpExchange]:
        """The last exchanges, the oldest first."""
        return [entry.exchange for entry in self.store.last(self.forward, count)]

    def exchange(self, number: str) -> HttpExchange:
        """One exchange by its id.

        Raises:
            Failure: profile-not-found, it was dropped or never was.
        """
        found = None
        if number.isascii() and number.isdigit() and len(number) <= _DIGITS:
            found = self.store.get(self.forward, int(number))
        if found is None:
            raise sentences.no_such_exchange(self.forward, number)
        return found

    def follow(self) -> Follower:
        """Read what changes from now on; the caller closes it."""
        return Follower(self, self.store, self._followers)

    def close(self) -> None:
        """Copy nothing more, and forget what was kept."""
        self.is_closed = True
        for tapped in self.live:
            tapped.give_up(Reason.OVERLOAD)  # its counts are forgotten too
        self.live.clear()
        self.store.forget(self.forward)
        for follower in self._followers:
            follower.set()


class Follower:
    """One reader of the exchanges of a forward."""

    def __init__(
        self, inspection: Inspection, store: RequestStore, followers: set[asyncio.Event]
    ) -> None:
        self._inspection = inspection
        self._store = store
        self._followers = followers
        self._changed = asyncio.Event()
        self._seen = store.version
        followers.add(self._changed)

    async def exchanges(self, count: int) -> AsyncIterator[HttpExchange]:
        """The last `count` exchanges, and from then on each one that is new or changes. Ends when
        the forward is no longer inspected."""
        for exchange in self._inspection.last(count):
            yield exchange
        while not self._inspection.is_closed:
            await self._changed.wait()
            self._changed.clear()
            until = self._store.version
            for entry in self._store.since(self._inspection.forward, self._seen):
                yield entry.exchange
            self._seen = until
            await asyncio.sleep(_FOLLOW_STEP)

    def close(self) -> None:
        """Follow no longer."""
        self._followers.discard(self._changed)
