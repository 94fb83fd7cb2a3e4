"""The output of one link's session: reported as events, and kept for status.

Owns the last lines. Must never let the output of a server fill the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.home.redaction import SECRETS
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.session import Session
from tunnelctl.state.documents.status_events import SAYS
from tunnelctl.state.throttle import Throttle

LINES_KEPT = 100
# A greeting, addresses and a QR code at once; then a line for each of some clients.
_AT_ONCE = 100
_SECONDS_A_LINE = 1.0


def of_events() -> Throttle:
    """The limit on events for the lines of one host, over all its links."""
    return Throttle(_AT_ONCE, _SECONDS_A_LINE)


class Speech:
    """Begins at once; `tell` gets the message of each event that `throttle` allows."""

    def __init__(self, link: Link, tell: Callable[[str], None], throttle: Throttle) -> None:
        self._tell = tell
        self._kept: deque[str] = deque(maxlen=LINES_KEPT)
        self._throttle = throttle
        self._session = Session(link, self._line, self._refused)

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines, the oldest first."""
        return tuple(self._kept)

    def end(self) -> None:
        """Stop reading."""
        self._session.close()

    def _line(self, text: str) -> None:
        text = SECRETS.redact(text)  # a server may repeat a secret that it was sent
        self._kept.append(text)
        held_back = self._throttle.ask(clock.monotonic())
        if held_back is not None:
            self._tell(f"{SAYS}{text}" + (f" ({held_back} more before it)" if held_back else ""))

    def _refused(self, why: str) -> None:
        self._tell(f"the server grants no session: {why}")
