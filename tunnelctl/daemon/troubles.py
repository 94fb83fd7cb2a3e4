"""Present problems of the daemon itself: descriptors, disk, threads.

Owns one warning for each problem, however often it occurs, and the list that status shows while it
lasts. Must never fail: it is called where something else just failed.
"""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)


class Troubles:
    """May be called from any thread."""

    def __init__(self) -> None:
        self._lasting: dict[str, str] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        """The present problems, one line each."""
        return tuple(self._lasting.values())

    def begin(self, what: str, text: str) -> None:
        """Warn, unless the problem `what` is present already."""
        if what not in self._lasting:
            # First, because the warning itself may meet the same problem.
            self._lasting[what] = text
            _log.warning("%s", text)

    def end(self, what: str) -> None:
        """The problem `what` is over; no effect if it was not present."""
        if self._lasting and self._lasting.pop(what, None) is not None:
            _log.info("over: %s", what)
