"""The exchanges in memory, of all inspected forwards of the daemon.

Owns the limits: so many exchanges, so many bytes; the oldest are dropped, and counted. The parser's
thread adds to it, the loop reads. Must never be written anywhere else.
"""

from __future__ import annotations

import threading
from collections import Counter

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.exchange import HttpExchange, HttpMessage

EXCHANGES_MAX = 1000
# With what waits for the parser (backlog.py) and what the allocator keeps, less than 64 MiB.
BYTES_MAX = 40 << 20
# What Python needs for an exchange, and for a header or a frame, besides their bytes (measured by
# tests/inspect/test_store.py).
_EXCHANGE = 2000
ITEM = 250


@dataclass(slots=True, eq=False)
class StoredExchange:
    """An exchange, and its part of the memory. `version` grows with each change that is worth
    telling."""

    forward: str
    exchange: HttpExchange
    size: int = 0
    version: int = 0
    is_kept: bool = True  # False once it was dropped: nothing more is added to it


class RequestStore:
    """Used from the parser's thread and the loop."""

    def __init__(self, exchanges_max: int = EXCHANGES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._exchanges_max = exchanges_max
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._entries: dict[int, StoredExchange] = {}  # the oldest first
        self._size = 0
        self._version = 0
        self._dropped: Counter[str] = Counter()

    @property
    def version(self) -> int:
        """That of the last change."""
        return self._version

    def add(self, entry: StoredExchange) -> None:
        """Keep a new exchange."""
        exchange = entry.exchange
        with self._lock:
            self._entries[exchange.id] = entry
            self._grow(entry, _EXCHANGE + len(exchange.path) + _size_of(exchange.request))
            self._touch(entry)

    def answered(self, entry: StoredExchange, response: HttpMessage) -> None:
        """The head of its response came."""
        with self._lock:
            entry.exchange.response = response
            self._grow(entry, _size_of(response))
            self._touch(entry)

    def grew(self, entry: StoredExchange, size: int, *, tell: bool = False) -> None:
        """So many bytes were added to it."""
        with self._lock:
            self._grow(entry, size)
            if tell:
                self._touch(entry)

    def changed(self, entry: StoredExchange) -> None:
        """Something about it changed that readers want to know."""
        with self._lock:
            self._touch(entry)

    def last(self, forward: str, count: int | None = None) -> list[StoredExchange]:
        """The last exchanges of a forward, the oldest first."""
        with self._lock:
            found = [entry for entry in self._entries.values() if entry.forward == forward]
        return found if count is None else found[max(0, len(found) - count) :]

    def since(self, forward: str, version: int) -> list[StoredExchange]:
        """The exchanges of a forward that changed after that version, the oldest first."""
        return [entry for entry in self.last(forward) if entry.version > version]

    def get(self, forward: str, number: int) -> HttpExchange | None:
        """One exchange; None if it was dropped, or never was."""
        entry = self._entries.get(number)
        return entry.exchange if entry is not None and entry.forward == forward else None

    def dropped(self, forward: str) -> int:
        """How many exchanges of the forward were dropped."""
        return self._dropped[forward]

    def forget(self, forward: str) -> None:
        """Drop all exchanges of a forward that is not inspected any more, uncounted."""
        with self._lock:
            for entry in [one for one in self._entries.values() if one.forward == forward]:
                self._remove(entry)
            del self._dropped[forward]

    def _grow(self, entry: StoredExchange, size: int) -> None:
        if not entry.is_kept:
            return
        entry.size += size
        self._size += size
        while self._size > self._bytes_max or len(self._entries) > self._exchanges_max:
            oldest = next(iter(self._entries.values()))
            self._remove(oldest)
            self._dropped[oldest.forward] += 1

    def _remove(self, entry: StoredExchange) -> None:
        del self._entries[entry.exchange.id]
        self._size -= entry.size
        entry.is_kept = False
        # It may last, and its conversation has it until then.
        for message in (entry.exchange.request, entry.exchange.response):
            if message is not None:
                message.body = bytearray()

    def _touch(self, entry: StoredExchange) -> None:
        self._version += 1
        entry.version = self._version


def _size_of(message: HttpMessage) -> int:
    return sum(ITEM + len(name) + len(value) for name, value in message.headers)
