"""What the daemon itself lacks at the moment: descriptors, disk, threads.

Owns one warning for each trouble, however often it is met, and the list that status shows while it
lasts. Must never fail itself: it is called where something else just did.
"""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)


class Troubles:
    """Called from any thread."""

    def __init__(self) -> None:
        self._lasting: dict[str, str] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        """What lasts, one line each."""
        return tuple(self._lasting.values())

    def begin(self, what: str, text: str) -> None:
        """Warn, unless the trouble called `what` lasts already."""
        if what not in self._lasting:
            self._lasting[what] = text  # first: the warning itself may meet the same trouble
            _log.warning("%s", text)

    def end(self, what: str) -> None:
        """It is over, if it ever was."""
        if self._lasting and self._lasting.pop(what, None) is not None:
            _log.info("over: %s", what)
