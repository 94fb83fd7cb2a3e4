"""What the server of one link says in its session: told as events, and kept for status.

Owns the last lines, as few as are kept. Must never let a talkative server fill the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.home.redaction import SECRETS
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.session import Session
from tunnelctl.state.status_events import SAYS
from tunnelctl.state.throttle import Throttle

LINES_KEPT = 100
# A greeting, the addresses and a QR code at once; then a line for each of some clients.
_AT_ONCE = 100
_SECONDS_A_LINE = 1.0


def of_events() -> Throttle:
    """How many of one host's lines become events, whatever links they come over."""
    return Throttle(_AT_ONCE, _SECONDS_A_LINE)


class Speech:
    """Begins at once; `tell` gets the message of each event, as many as `throttle` lets through."""

    def __init__(self, link: Link, tell: Callable[[str], None], throttle: Throttle) -> None:
        self._tell = tell
        self._kept: deque[str] = deque(maxlen=LINES_KEPT)
        self._throttle = throttle
        self._session = Session(link, self._line, self._refused)

    @property
    def lines(self) -> tuple[str, ...]:
        """The last of them, the oldest first."""
        return tuple(self._kept)

    def end(self) -> None:
        """Listen no more."""
        self._session.close()

    def _line(self, text: str) -> None:
        text = SECRETS.redact(text)  # a server may repeat what it was sent
        self._kept.append(text)
        held_back = self._throttle.ask(clock.monotonic())
        if held_back is not None:
            self._tell(f"{SAYS}{text}" + (f" ({held_back} more before it)" if held_back else ""))

    def _refused(self, why: str) -> None:
        self._tell(f"the server gives no session: {why}")
