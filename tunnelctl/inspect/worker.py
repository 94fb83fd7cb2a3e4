"""The thread that parses what the taps copied.

Owns the thread, and imports h11 and wsproto, in it and only once a forward is inspected. It leaves
the interpreter to the loop while that is busy, so that it cannot slow a tunnel down: what waits too
long is not inspected. Must never call anything of the loop but `call_soon_threadsafe`, and never
end because of what it reads.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.inspect.backlog import Backlog
from tunnelctl.inspect.copied import Copied, copies
from tunnelctl.inspect.reasons import NotInspected, Reason
from tunnelctl.inspect.store import RequestStore
from tunnelctl.inspect.tap import Tapped

_log = logging.getLogger(__name__)

# Seconds of processor time for parsing, and of the pauses after them. The next pause follows if the
# loop used its processor for this share of the last one. To wake up also takes the interpreter from
# the loop, so the pauses grow. The first one is for times when no bytes come, the last one is left
# out once the backlog is filling.
_SLICE = 0.001
_PAUSES = (0.001, 0.005, 0.045)
_BUSY = 0.1


class Worker:
    """Made on the loop's thread, where `on_change()` is called after the store has changed."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        backlog: Backlog,
        store: RequestStore,
        on_change: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._backlog = backlog
        self._store = store
        self._on_change = on_change
        self._is_closing = False
        self._told = 0  # the version of the store
        self._is_calm = True  # no bytes came in the last pause
        self._loop_clock = clock.cpu_clock_of(threading.get_ident())
        self.thread = threading.Thread(target=self._run, name="inspector", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """End the thread soon; what waits is not parsed."""
        self._is_closing = True
        self._backlog.wake()

    def _run(self) -> None:
        from tunnelctl.inspect import conversation  # noqa: F401 - before the first bytes come

        used = clock.thread_cpu
        while not self._is_closing:
            self._backlog.wait()
            until = used() + _SLICE
            while (batch := self._backlog.take()) is not None:
                for item in copies(batch):
                    self._handle(item)
                    if used() > until:
                        self._tell()
                        self._give_way()
                        until = used() + _SLICE
                    if self._is_closing:
                        return
                self._backlog.done(batch)
            self._tell()

    def _tell(self) -> None:
        if self._store.version != self._told:
            self._told = self._store.version
            with contextlib.suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self._on_change)

    def _give_way(self) -> None:
        """Pause, until the loop has little to do or for some time."""
        pauses = _PAUSES[not self._is_calm : len(_PAUSES) - self._backlog.is_filling]
        for pause in pauses:
            began, used, put = clock.monotonic(), self._loop_clock(), self._backlog.put_so_far
            if self._backlog.pause(pause):
                return
            self._is_calm = self._backlog.put_so_far == put
            share = (self._loop_clock() - used) / (clock.monotonic() - began)
            if share < _BUSY:
                return

    def _handle(self, item: Copied) -> None:
        tapped = item.tapped
        try:
            self._parse(item)
            if item.is_end or tapped.reason is not None:
                _end(tapped, item.at)
        except Exception as error:  # a fault of ours must not stop the inspection of others
            _log.warning("inspection of a connection failed: %s", type(error).__name__)
            tapped.give_up(Reason.MALFORMED)

    def _parse(self, item: Copied) -> None:
        tapped = item.tapped
        if tapped.reason is not None:
            tapped.counts.drained += len(item.data)
            return
        if item.is_end:
            return
        if tapped.conversation is None:
            from tunnelctl.inspect.conversation import Conversation

            tapped.conversation = Conversation(tapped, self._store)
        try:
            tapped.conversation.feed(item)
        except NotInspected as why:
            tapped.counts.drained += len(item.data)
            tapped.give_up(why.reason)


def _end(tapped: Tapped, at: float) -> None:
    conversation, tapped.conversation = tapped.conversation, None
    if conversation is not None:
        conversation.end(at)
