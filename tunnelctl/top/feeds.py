"""Reads the daemon's documents repeatedly, in a thread of its own.

Owns when the daemon is asked: after events, and at an interval that grows with the cost of an
answer, so that a thousand forwards take no more of a core than ten. A daemon that went away is
waited for. Must never touch the screen: it hands over whole views.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from tunnelctl import clock
from tunnelctl.client import Client, EventStream
from tunnelctl.client.http import LOOK_WITHIN
from tunnelctl.errors import Code, Failure
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.exchange import HttpExchange
from tunnelctl.view import model
from tunnelctl.view.rates import ForwardRates
from tunnelctl.view.rows import View

_EVERY: Final = 1.0  # seconds between two readings without events
_EVERY_WITH_PROCESSES: Final = 2.0  # the daemon looks for them in /proc
# Between two readings is at least this many times the CPU time of the last one, the second one
# after an event: 2.5 % of a core, or 12 % while events come all the time.
_REST, _REST_AFTER_EVENT = 40, 8
_AGAIN: Final = 0.5  # seconds between two attempts to reach a daemon
_END_WITHIN: Final = 2.0  # seconds for a request that has begun


@dataclass(frozen=True, slots=True)
class Interests:
    """The documents that the screen needs in addition to the status."""

    connections: bool = False
    history: bool = False


class Feed(ABC):
    """A thread with a loop, `run`, that another thread can wake and stop. `on_crash` gets an error
    that nobody expected, because a screen that is never updated again would lie."""

    def __init__(self, on_crash: Callable[[Exception], object]) -> None:
        self._on_crash = on_crash
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        self._stopped = False
        # A daemon thread: a request that hangs does not keep the program from ending.
        self._thread = threading.Thread(target=self._main, name=type(self).__name__, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for that unless a request takes long."""
        self._stopped = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join(_END_WITHIN)
        if not self._thread.is_alive():
            os.close(self._read_end)
            os.close(self._write_end)

    def wake(self) -> None:
        """End the present wait."""
        with contextlib.suppress(BlockingIOError):  # then it is about to wake
            os.write(self._write_end, b"w")

    @abstractmethod
    def run(self) -> None:
        """Read until `stop`."""

    def _main(self) -> None:
        try:
            self.run()
        except Exception as error:
            self._on_crash(error)

    def _pause(self, seconds: float | None, stream: Any = None) -> bool:
        """Wait for something in the `stream`, a wake, or the end of the time; whether it was one of
        the first two."""
        watched = [self._read_end] if stream is None else [self._read_end, stream]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._read_end in ready:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._read_end, 4096):
                    pass
        return bool(ready)


class StatusFeed(Feed):
    """Reads the status, and the other documents that are of interest. Calls `on_view` with each
    view, `on_away` with the reason when the daemon cannot be read."""

    def __init__(
        self,
        client: Client,
        on_view: Callable[[View], object],
        on_away: Callable[[Failure], object],
        on_crash: Callable[[Exception], object],
    ) -> None:
        super().__init__(on_crash)
        self._client = client
        self._on_view = on_view
        self._on_away = on_away
        self._interests = Interests()

    def want(self, interests: Interests) -> None:
        """Read this too, at once."""
        if interests != self._interests:
            self._interests = interests
            self.wake()

    def run(self) -> None:
        """Read until `stop`."""
        while not self._stopped:
            try:
                with self._client.events() as stream:
                    self._follow(stream)
            except Failure as failure:
                self._on_away(failure)
                self._pause(_AGAIN)

    def _follow(self, stream: EventStream) -> None:
        rates, cost = ForwardRates(), 0.0
        while not self._stopped:
            began, cpu = clock.monotonic(), clock.process_cpu()
            self._on_view(self._look(rates))
            every = _EVERY_WITH_PROCESSES if self._interests.connections else _EVERY
            if self._pause(max(every, _REST * cost), stream):
                while stream.next(0) is not None:
                    pass  # events share a reading
                self._pause_at_least(began + _REST_AFTER_EVENT * cost)
            cost = clock.process_cpu() - cpu  # of the reading, and of drawing it

    def _pause_at_least(self, until: float) -> None:
        """Wait until that time on the monotonic clock, whatever wakes it except `stop`."""
        while not self._stopped and (left := until - clock.monotonic()) > 0:
            self._pause(left)

    def _look(self, rates: ForwardRates) -> View:
        interests = self._interests
        status = self._client.status(within=LOOK_WITHIN)
        rates.add(status.profiles, clock.monotonic())
        connections = self._client.connections(processes=True) if interests.connections else None
        history = self._client.history() if interests.history else None
        return model.build(status, connections, history, clock.wall(), rates)


class LogFeed(Feed):
    """Follows the log, and calls `on_line` with each line, as the control API sends it."""

    def __init__(
        self,
        client: Client,
        lines: int,
        on_line: Callable[[dict[str, Any]], object],
        on_crash: Callable[[Exception], object],
    ) -> None:
        super().__init__(on_crash)
        self._client = client
        self._lines = lines
        self._on_line = on_line

    def run(self) -> None:
        """Follow until `stop`. The log of the next daemon follows that of the last one."""
        while not self._stopped:
            try:
                with self._client.follow_logs((), self._lines, None) as stream:
                    while not self._stopped:
                        while (line := stream.next(0)) is not None:
                            self._on_line(line)
                        self._pause(None, stream)
            except Failure:
                self._pause(_AGAIN)


class RequestFeed(Feed):
    """Follows the last `count` HTTP requests of an inspected forward and all new ones. Calls
    `on_request` with each one whenever it has changed, and `on_refused` if the forward has none."""

    def __init__(
        self,
        client: Client,
        place: tuple[str, str],
        count: int,
        on_request: Callable[[HttpExchange], object],
        on_refused: Callable[[Failure], object],
        on_crash: Callable[[Exception], object],
    ) -> None:
        super().__init__(on_crash)
        self._client = client
        self._place = place
        self._count = count
        self._on_request = on_request
        self._on_refused = on_refused

    def run(self) -> None:
        """Follow until `stop`, or until the daemon refuses."""
        while not self._stopped:
            try:
                with self._client.follow_requests(*self._place, self._count) as stream:
                    while not self._stopped:
                        while (exchange := stream.next(0)) is not None:
                            self._on_request(exchange)
                        self._pause(None, stream)
            except Failure as failure:
                if failure.code is not Code.DAEMON_NOT_RUNNING:
                    self._on_refused(failure)
                    return
                self._pause(_AGAIN)
