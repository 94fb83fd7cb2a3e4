"""Bytes a second of each connection, from two readings.

Owns the last reading. Nothing is read unless somebody asks, so that connections cost nothing
meanwhile; the first to ask waits for the second reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from tunnelctl import clock
from tunnelctl.forward.client_connections import ClientConnection

# Seconds between two readings: at least, and at most for a rate that is still of now.
_LEAST: Final = 0.5
_MOST: Final = 5.0

# From the socket, and to it.
Rate = tuple[float, float]


class ConnectionRates:
    """Of the connections that `living` returns."""

    def __init__(self, living: Callable[[], Iterable[ClientConnection]]) -> None:
        self._living = living
        self._seen: dict[int, tuple[int, int]] = {}
        self._seen_at = -_MOST
        self._rates: dict[int, Rate] | None = None

    async def look(self) -> None:
        """Have rates that are at most half a second old. Waits as long if nobody asked lately."""
        now = clock.monotonic()
        if now - self._seen_at > _MOST:
            self._rates = None
            self._read(now)
        if self._rates is None and self._seen:
            await asyncio.sleep(max(0.0, self._seen_at + _LEAST - now))
        self._measure()

    def of(self, connection: ClientConnection) -> Rate:
        """The rates of one connection; of one that came after `look`, since it began."""
        found = None if self._rates is None else self._rates.get(connection.number)
        return self._since_it_began(connection) if found is None else found

    def _measure(self) -> None:
        """Compute the rates since the last reading, unless there are some that are recent."""
        now = clock.monotonic()
        elapsed = now - self._seen_at
        if self._rates is not None and elapsed < _LEAST:
            return
        rates = {}
        for connection in self._living():
            seen = self._seen.get(connection.number)
            if seen is None:
                rates[connection.number] = self._since_it_began(connection)
            else:
                come, gone = connection.from_socket - seen[0], connection.to_socket - seen[1]
                rates[connection.number] = come / elapsed, gone / elapsed
        self._rates = rates
        self._read(now)

    def _read(self, now: float) -> None:
        self._seen = {one.number: (one.from_socket, one.to_socket) for one in self._living()}
        self._seen_at = now

    def _since_it_began(self, connection: ClientConnection) -> Rate:
        # A first burst is no rate yet.
        elapsed = max(_LEAST, clock.monotonic() - connection.since)
        return connection.from_socket / elapsed, connection.to_socket / elapsed
