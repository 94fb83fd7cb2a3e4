"""The stream to every browser: the view, the log, and whether the daemon answers.

Owns the one reader of the daemon, which runs while a browser listens, and the stream to each. Must
never wait for a browser: a slow one gets the newest view, and loses the oldest log lines.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any, TypeVar

from tunnelctl import __version__, clock
from tunnelctl.client import Document, Problem, sentences
from tunnelctl.dashboard.daemon_client import DaemonClient
from tunnelctl.dashboard.sentences import error_inside
from tunnelctl.errors import Code, Failure
from tunnelctl.state.documents import connection_status, history, snapshot
from tunnelctl.state.documents.connection_status import ConnectionList
from tunnelctl.state.documents.history import History
from tunnelctl.state.documents.snapshot import Status
from tunnelctl.view import model
from tunnelctl.view.rates import ForwardRates

_log = logging.getLogger(__name__)
T = TypeVar("T")

_EVERY = 1.0  # seconds between two looks without a change: for rates, ages and retries
_TOGETHER = 0.03  # seconds in which changes share a look
_OF_THE_TIME = 0.2  # the share of the time that looks may take, without a change
_AGAIN = 0.5  # seconds after the daemon was away
_LINES = 500  # of the log, that a slow browser may be behind


class Live:
    """The reader of a daemon, and its listeners."""

    def __init__(self, daemon: DaemonClient, *, read_only: bool) -> None:
        self._daemon = daemon
        self._read_only = read_only
        self._listeners: set[LiveListener] = set()
        self._reader: asyncio.Task[None] | None = None
        self._latest: dict[str, bytes] = {}  # the last message of each kind that is a state
        self._rates = ForwardRates()

    @property
    def listeners(self) -> int:
        """The number of browsers that listen."""
        return len(self._listeners)

    @contextmanager
    def listening(self) -> Iterator[LiveListener]:
        """A listener for the length of a block."""
        listener = LiveListener(self._latest)
        self._listeners.add(listener)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="reader of the daemon")
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._reader.cancel()
                self._reader = None
                self._latest.clear()  # nothing old is shown to the next one

    async def _read(self) -> None:
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._follow_log())
                    changed = asyncio.Event()
                    tasks.create_task(self._note_changes(changed))
                    tasks.create_task(self._look_at(changed))
            except* Failure as failures:
                failure = failures.exceptions[0]
                assert isinstance(failure, Failure)
                self._tell_state("daemon", self._about(failure))
            except* Exception as errors:  # a fault of ours: what is shown must not look like now
                _log.debug("the reader of the daemon failed", exc_info=errors)
                kind = type(errors.exceptions[0]).__name__
                self._tell_state("daemon", self._about(error_inside(kind)))
            await asyncio.sleep(_AGAIN)

    async def _look_at(self, changed: asyncio.Event) -> None:
        """Look at the status once, and after each change or second."""
        await changed.wait()
        while True:
            changed.clear()
            began = clock.monotonic()
            await self._look()
            took = clock.monotonic() - began
            with suppress(TimeoutError):
                async with asyncio.timeout(max(_EVERY, took / _OF_THE_TIME)):
                    await changed.wait()
                    await asyncio.sleep(_TOGETHER)

    async def _note_changes(self, changed: asyncio.Event) -> None:
        async with aclosing(self._daemon.events("/v1/events")) as events:
            async for _ in events:
                changed.set()

    async def _follow_log(self) -> None:
        """Until the log is read by as many as may; then the page has what it loaded."""
        try:
            async with aclosing(self._daemon.events("/v1/logs?follow=1&lines=0")) as lines:
                async for line in lines:
                    if line:
                        self._tell_line(line)
        except Failure as failure:
            if failure.code is Code.DAEMON_NOT_RUNNING:
                raise

    async def _look(self) -> None:
        status = await self._status()
        self._rates.add(status.profiles, clock.monotonic())
        view = model.build(status, await self._connections(), None, clock.wall(), self._rates)
        self._tell_state("daemon", self._about(None))
        self._tell_state("view", model.to_json(view))

    async def view(self) -> dict[str, Any]:
        """The whole view, once, with what is asked for only where it is shown: the processes of
        clients, and the curves of ten minutes.

        Raises:
            Failure: the daemon does not answer, or is another one.
        """
        status = await self._status()
        listed, curves = await self._connections("?process=1"), await self._history()
        return model.to_json(model.build(status, listed, curves, clock.wall()))

    async def _status(self) -> Status:
        return self._read_with(snapshot.from_json, await self._daemon.document("/v1/status"))

    async def _connections(self, query: str = "") -> ConnectionList | None:
        """None: this daemon does not tell."""
        try:
            document = await self._daemon.document(f"/v1/connections{query}")
        except Problem:
            return None
        return self._read_with(connection_status.from_json, document)

    async def _history(self) -> History | None:
        """None: this daemon does not tell."""
        try:
            document = await self._daemon.document("/v1/history")
        except Problem:
            return None
        return self._read_with(history.from_json, document)

    def _read_with(self, from_json: Callable[[Document], T], document: Document) -> T:
        try:
            return from_json(document)
        except ValueError:
            raise sentences.another_api(self._daemon.version, __version__) from None

    def _about(self, failure: Failure | None) -> dict[str, Any]:
        """Whether the daemon answers, and which one it is."""
        return {
            "answers": failure is None,
            "message": failure.message if failure else "",
            "hint": failure.hint if failure else "",
            "version": self._daemon.version,
            "dashboard_version": __version__,
            "read_only": self._read_only,
        }

    def _tell_state(self, kind: str, document: dict[str, Any]) -> None:
        """Tell what is now; only the newest counts."""
        message = _message(kind, document)
        if self._latest.get(kind) != message:
            self._latest[kind] = message
            for listener in self._listeners:
                listener.put_state(kind, message)

    def _tell_line(self, line: dict[str, Any]) -> None:
        message = _message("log", line)
        for listener in self._listeners:
            listener.put_line(message)


class LiveListener:
    """The messages that one browser was not sent yet, as server-sent events."""

    def __init__(self, latest: Mapping[str, bytes]) -> None:
        self._states = dict(latest)
        self._lines: deque[bytes] = deque(maxlen=_LINES)
        self._woken = asyncio.Event()
        self._woken.set()

    def put_state(self, kind: str, message: bytes) -> None:
        """A newer state of its kind takes the place of one that was not sent."""
        self._states[kind] = message
        self._woken.set()

    def put_line(self, message: bytes) -> None:
        """A line of the log."""
        self._lines.append(message)
        self._woken.set()

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Everything, as it comes."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._states or self._lines:
                kind = next(iter(self._states), None)
                yield self._lines.popleft() if kind is None else self._states.pop(kind)


def _message(kind: str, document: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(document, separators=(',', ':'))}\n\n".encode()
