"""The last lines of the log, kept in memory for `GET /v1/logs`, and told as they are written.

Owns a bounded number of lines and of readers. Must never wait for a reader: one that falls behind
loses the oldest lines. What a line says is made by `destinations.py`, redacted and escaped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from tunnelctl.daemon.log.destinations import OneLine, about
from tunnelctl.daemon.problems import BadRequest
from tunnelctl.spec.patterns import Pattern
from tunnelctl.state.snapshot import API_VERSION

_LINES_KEPT = 5000
_LINES = 100  # when nobody says how many
_READERS = 4  # that follow at once; the rest of the server's clients is for others
_PATTERN = re.compile(r"[\w*?\[][\w.*?\[\]!-]{0,127}(/[\w.*?\[\]!-]{1,127})?", re.ASCII)
_FLAGS = {"": False, "0": False, "1": True}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: when (seconds since the epoch, and as RFC 3339), how bad, about what, and what."""

    created: float
    at: str
    level: str
    profile: str
    name: str  # of the host or forward it is about; may be empty, as `profile` may
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
    """Which lines: of what matches a pattern or of all, the last so many, later than a moment, and
    on."""

    patterns: tuple[Pattern, ...] = ()
    lines: int = _LINES
    since: float = 0.0
    follow: bool = False

    @classmethod
    def read(cls, request: web.Request) -> LogQuery:
        """Check the query of a request.

        Raises:
            BadRequest: with what is wrong with it.
        """
        query = request.query
        unknown = sorted(set(query) - {"profile", "lines", "since", "follow"})
        if unknown:
            raise BadRequest(f"unknown key {unknown[0]!r} in the query")
        words, lines = query.getall("profile", []), query.get("lines", str(_LINES))
        if not all(_PATTERN.fullmatch(word) for word in words):
            raise BadRequest("profile must be PROFILE or PROFILE/PART; wildcards are *, ? and []")
        if not (lines.isascii() and lines.isdigit() and len(lines) < 10):
            raise BadRequest("lines must be a number")
        follow = _FLAGS.get(query.get("follow", ""))
        if follow is None:
            raise BadRequest("follow must be 1 or 0")
        return cls(tuple(map(Pattern, words)), int(lines), _moment(query.get("since", "")), follow)

    def takes(self, line: LogLine) -> bool:
        """Whether it asks for this line."""
        return line.created >= self.since and (
            not self.patterns
            or any(pattern.takes(line.profile, line.name) for pattern in self.patterns)
        )


class Logbook(logging.Handler):
    """A handler of the root logger; `bind` ties it to the loop that its readers run on."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=_LINES_KEPT)
        self._readers: set[_Follower] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.setFormatter(OneLine())

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell readers from now on, on this loop."""
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record. Called from any thread."""
        at, level, message = self.format(record).split(" ", 2)
        line = LogLine(record.created, at, level, *about(record), message)
        self._lines.append(line)
        if self._readers and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self._tell, line)

    def last(self, question: LogQuery) -> list[LogLine]:
        """The lines that are asked for, the oldest first."""
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
            raise web.HTTPServiceUnavailable(text="too many readers follow the log")
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
            pass  # the reader has gone
        finally:
            self._readers.discard(reader)
        return response

    def _tell(self, line: LogLine) -> None:
        for reader in self._readers:
            reader.put(line)


class _Follower:
    """What one follower has not read yet."""

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
    """Seconds since the epoch of an RFC 3339 moment; 0 for none.

    Raises:
        BadRequest: it is not one.
    """
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest("since must be a moment as in RFC 3339") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
