"""The last lines of the log in memory, for `GET /v1/logs`, which can also follow new lines.

Owns a bounded number of lines and of readers. Must never wait for a reader: a slow one loses the
oldest lines. The text of a line comes from `destinations.py`, redacted and escaped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from aiohttp import web

from tunnelctl.daemon import sentences
from tunnelctl.daemon.log.destinations import OneLine, about
from tunnelctl.daemon.request_parts import check_query, flag_in_query, number_in_query
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.patterns import Pattern
from tunnelctl.state.documents.api_version import API_VERSION

_LINES_KEPT = 5000
_LINES = 100  # if the request names no number
_READERS = 4  # followers at the same time; other requests need the remaining clients of the server
_PATTERN = re.compile(r"[\w*?\[][\w.*?\[\]!-]{0,127}(/[\w.*?\[\]!-]{1,127})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: time (seconds since the epoch, and as RFC 3339), level, subject and text."""

    created: float
    at: str
    level: str
    profile: str
    name: str  # the host or forward; may be empty, like `profile`
    message: str

    def as_json(self) -> dict[str, str]:
        """One element of the answer."""
        return {
            "at": self.at,
            "level": self.level,
            "profile": self.profile,
            "name": self.name,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class LogQuery:
    """The lines to return: matching a pattern, the last N, since a time, and whether to follow."""

    patterns: tuple[Pattern, ...] = ()
    lines: int = _LINES
    since: float = 0.0
    follow: bool = False

    @classmethod
    def read(cls, request: web.Request) -> LogQuery:
        """Check the query of a request.

        Raises:
            Failure: USAGE, it is invalid.
        """
        check_query(request, ("lines", "since", "follow"), repeatable=("profile",))
        words = request.query.getall("profile", [])
        if not all(_PATTERN.fullmatch(word) for word in words):
            raise sentences.not_a_pattern()
        return cls(
            tuple(map(Pattern, words)),
            number_in_query(request, "lines", _LINES),
            _moment(request.query.get("since", "")),
            flag_in_query(request, "follow"),
        )

    def takes(self, line: LogLine) -> bool:
        """Whether the line matches."""
        return line.created >= self.since and (
            not self.patterns
            or any(pattern.takes(line.profile, line.name) for pattern in self.patterns)
        )


class Logbook(logging.Handler):
    """A handler of the root logger; `bind` sets the loop that its readers run on."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=_LINES_KEPT)
        self._readers: set[_Follower] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.setFormatter(OneLine())

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Notify readers from now on, on this loop."""
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record. May be called from any thread."""
        at, level, message = self.format(record).split(" ", 2)
        line = LogLine(record.created, at, level, *about(record), message)
        self._lines.append(line)
        if self._readers and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed in the meantime
                self._loop.call_soon_threadsafe(self._tell, line)

    def last(self, question: LogQuery) -> list[LogLine]:
        """The matching lines, the oldest first."""
        found = [line for line in tuple(self._lines) if question.takes(line)]
        return found[len(found) - question.lines :] if question.lines < len(found) else found

    def route(self) -> web.RouteDef:
        """`GET /v1/logs`."""
        return web.get("/v1/logs", self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        question = LogQuery.read(request)
        if not question.follow:
            lines = [line.as_json() for line in self.last(question)]
            return web.json_response({"api_version": API_VERSION, "lines": lines})
        if len(self._readers) >= _READERS:
            raise web.HTTPServiceUnavailable(text=sentences.log_has_too_many_readers())
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        response.force_close()
        reader = _Follower(question, self.last(question))
        self._readers.add(reader)
        try:
            await response.prepare(request)
            await response.write(b": every line from here on\n\n")
            async for line in reader.lines():
                data = json.dumps(line.as_json(), separators=(",", ":"))
                await response.write(f"event: log\ndata: {data}\n\n".encode())
        except ConnectionError:
            pass  # the reader has disconnected
        finally:
            self._readers.discard(reader)
        return response

    def _tell(self, line: LogLine) -> None:
        for reader in self._readers:
            reader.put(line)


class _Follower:
    """The lines that one follower has not read yet."""

    def __init__(self, question: LogQuery, before: list[LogLine]) -> None:
        self._question = question
        self._held: deque[LogLine] = deque(before, maxlen=_LINES_KEPT)
        self._woken = asyncio.Event()

    def put(self, line: LogLine) -> None:
        if self._question.takes(line):
            self._held.append(line)
            self._woken.set()

    async def lines(self) -> AsyncIterator[LogLine]:
        while True:
            while self._held:
                yield self._held.popleft()
            self._woken.clear()
            await self._woken.wait()


def _moment(text: str) -> float:
    """An RFC 3339 time as seconds since the epoch; 0 for an empty text.

    Raises:
        Failure: USAGE, it is not one.
    """
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise sentences.not_a_time() from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
