"""The tap of one connection: on the loop, it copies what the parser wants.

Owns the decision what is copied. Must never raise, wait, or keep a view; what does not fit into the
backlog ends the inspection of its connection, not the connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from tunnelctl import clock
from tunnelctl.inspect.backlog import Backlog
from tunnelctl.inspect.reasons import NotInspectedCounts, Reason
from tunnelctl.ssh.link.tap import END, Tap

if TYPE_CHECKING:  # it imports h11, which a daemon without inspected forwards never needs
    from tunnelctl.inspect.bodies import Chunked
    from tunnelctl.inspect.conversation import Conversation

_log: Final = logging.getLogger(__name__)


@final
class Flow:
    """One direction of a connection. The loop counts the bytes that `passed`; the parser says from
    which one on it wants them again, so that the rest of a long body is only counted.

    The rest of a body in chunks ends at no known byte, so the parser offers to have its chunks
    counted on the loop, from the byte after the last one that it got. The loop accepts if that is
    the next one: then nothing waits for the parser, and the body has one user.
    """

    def __init__(self) -> None:
        self.passed = 0
        self.wanted_from = 0
        self.offer: tuple[int, Chunked] | None = None  # set by the parser
        self._skimmed: Chunked | None = None  # accepted by the loop

    def skips(self, count: int) -> bool:
        """Whether so many bytes pass of which the parser need not know."""
        is_plain = self.offer is None and self._skimmed is None
        if is_plain and self.passed + count < self.wanted_from:
            self.passed += count
            return True
        return False

    def wanted(self, view: memoryview) -> tuple[int, memoryview] | None:
        """These bytes pass. Returns the part of them that the parser wants, with the position of
        its first byte; None if it need not know of them. An empty view is the end."""
        size, start = len(view), self.passed
        self.passed = start + size
        if self.offer is not None:
            position, body = self.offer
            self.offer = None
            if position == start:
                self._skimmed = body
        if self._skimmed is not None:
            unwanted = self._skimmed.skim(view)
            if size and unwanted == size:
                return None
            self._skimmed = None
        else:
            unwanted = self.wanted_from - start
            if 0 < size < unwanted:
                return None
        if size and unwanted > 0:  # the parser has to know when a body ends, even without a byte
            return start + unwanted, view[unwanted:]
        return start, view


@final
class Tapped:
    """A connection that is watched, as the loop and the parser share it.

    `client` and `connection` are what the list of connections says. `reason`: it is not inspected
    any more, and why.
    """

    def __init__(
        self, forward: str, client: str, connection: str, counts: NotInspectedCounts
    ) -> None:
        self.forward = forward
        self.client = client
        self.connection = connection
        self.counts = counts
        self.from_client, self.from_server = Flow(), Flow()
        self.reason: Reason | None = None
        self.conversation: Conversation | None = None  # the parser's

    def give_up(self, reason: Reason) -> None:
        """It is not inspected from now on."""
        if self.reason is None:
            self.reason = reason
            self.counts.reasons[reason] += 1


@final
class ConnectionTap(Tap):
    """`client_is_socket`: the relay's socket is the client's; else it is the target's. `on_end` is
    called when the connection has ended."""

    def __init__(
        self,
        tapped: Tapped,
        backlog: Backlog,
        on_end: Callable[[Tapped], None],
        *,
        client_is_socket: bool,
    ) -> None:
        self._tapped = tapped
        self._backlog = backlog
        self._on_end = on_end
        self._client_is_socket = client_is_socket

    def skips_from_socket(self, count: int) -> bool:
        return self._skips(count, self._client_is_socket)

    def skips_to_socket(self, count: int) -> bool:
        return self._skips(count, not self._client_is_socket)

    def from_socket(self, view: memoryview) -> None:
        self._pass(view, self._client_is_socket)

    def to_socket(self, view: memoryview) -> None:
        self._pass(view, not self._client_is_socket)

    def ended(self) -> None:
        self._on_end(self._tapped)
        try:
            self._backlog.put(self._tapped, False, 0, END, clock.monotonic(), is_end=True)
        except Exception as error:
            self._failed(error)

    def _skips(self, count: int, from_client: bool) -> bool:
        tapped = self._tapped
        flow = tapped.from_client if from_client else tapped.from_server
        if tapped.reason is None:
            return flow.skips(count)
        flow.passed += count
        tapped.counts.passed += count
        return True

    def _pass(self, view: memoryview, from_client: bool) -> None:
        try:
            self._copy(view, from_client)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Such as MemoryError: the connection must not notice."""
        _log.warning("inspection of a connection ended: %s", type(error).__name__)
        self._tapped.give_up(Reason.OVERLOAD)

    def _copy(self, view: memoryview, from_client: bool) -> None:
        tapped = self._tapped
        flow = tapped.from_client if from_client else tapped.from_server
        size = len(view)
        if tapped.reason is not None:
            flow.passed += size
            tapped.counts.passed += size
            return
        wanted = flow.wanted(view)
        if wanted is None:
            return
        start, view = wanted
        if not self._backlog.has_room(len(view)):
            tapped.give_up(Reason.OVERLOAD)
            tapped.counts.passed += len(view)
            return
        self._backlog.put(tapped, from_client, start, view, clock.monotonic(), is_eof=not size)
