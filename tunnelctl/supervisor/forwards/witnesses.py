"""The health of a target by the clients of a forward: who reached it, and who did not.

Owns what was last looked at, so that each client counts once. Must never probe the target.
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
        """Forget what was seen: there is another link."""
        counters = self._item.side.counters
        self._came, self._went = counters.bytes_in, counters.bytes_out
        self._failed = self._failures()

    def got_through(self) -> bool:
        """Whether clients exchanged bytes with the target in both directions since the last look: a
        server that turns everybody away speaks first, and nobody answers."""
        counters = self._item.side.counters
        came, went = counters.bytes_in, counters.bytes_out
        if came <= self._came or went <= self._went:
            return False
        self._came, self._went = came, went
        return True

    def failure(self) -> Failure | None:
        """Why the last client did not reach the target, if one failed since the last call."""
        before, self._failed = self._failed, self._failures()
        error = self._item.last_error
        is_news = self._failed > before and error is not None and error.code in OF_TARGETS
        return error if is_news else None

    def _failures(self) -> int:
        failures = self._item.side.counters.failures
        return sum(failures[code] for code in OF_TARGETS)
