"""What the clients of a forward tell about its target: who got through, and who did not.

Owns what was looked at last, so that each client tells once. Must never ask the target.
"""

from __future__ import annotations

from tunnelctl.errors import Failure
from tunnelctl.state.health import OF_TARGETS
from tunnelctl.supervisor.forwards.forwarding import Forwarding


class Witnesses:
    """The clients of one forward."""

    def __init__(self, item: Forwarding) -> None:
        self._item = item
        self.forget()

    def forget(self) -> None:
        """What was seen until now says nothing of the target: there is another link."""
        counters = self._item.side.counters
        self._came, self._went = counters.bytes_in, counters.bytes_out
        self._failed = self._failures()

    def got_through(self) -> bool:
        """Whether clients exchanged bytes with the target since that was seen last, in both
        directions: a server that turns everybody away says so first, and nobody answers."""
        counters = self._item.side.counters
        came, went = counters.bytes_in, counters.bytes_out
        if came <= self._came or went <= self._went:
            return False
        self._came, self._went = came, went
        return True

    def failure(self) -> Failure | None:
        """Why the last client did not reach the target, if one has tried since the last call."""
        before, self._failed = self._failed, self._failures()
        error = self._item.last_error
        is_news = self._failed > before and error is not None and error.code in OF_TARGETS
        return error if is_news else None

    def _failures(self) -> int:
        failures = self._item.side.counters.failures
        return sum(failures[code] for code in OF_TARGETS)
