"""The session of a link: what its server prints there, as lines (RFC 4254 sections 6.1 and 6.5).

Servers that choose a public address for a remote forward (sish, localhost.run and their like) tell
it there, and some listen only for those who look. Owns the one session channel of a link. Must
never send input or obey what comes: text is bounded, and made harmless before anybody sees it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tunnelctl.spec.host import SessionType
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.sentences import excerpt
from tunnelctl.wire.channel import ChannelHandler

LINE_MAX = 4096  # bytes that came; what is longer becomes several lines

_BREAK = re.compile(rb"[\r\n]+")
# ECMA-48, 5.4: control sequences, such as those for colours. They carry no text.
_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# A letter may become the ten of \U0010ffff.
_SHOWN_MAX = 10 * LINE_MAX


def wants_session(link: Link) -> bool:
    """Whether its settings, and what the server calls itself, ask for a session."""
    session_type = link.settings.session_type
    if session_type is SessionType.AUTO:
        # Of the others many have nowhere else to tell an address. OpenSSH would start a shell.
        return not link.info.software.is_openssh
    return session_type is SessionType.DEFAULT


class Lines:
    """Splits one stream of bytes; `on_line` gets each line that is not empty, harmless."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._begun = b""

    def feed(self, data: bytes) -> None:
        """What came next."""
        *whole, self._begun = _BREAK.split(self._begun + data)
        for line in whole:
            self._tell(line)
        while len(self._begun) >= LINE_MAX:
            self._tell(self._begun[:LINE_MAX])
            self._begun = self._begun[LINE_MAX:]

    def end(self) -> None:
        """Nothing more comes: what has no end of line is a line, too."""
        begun, self._begun = self._begun, b""
        self._tell(begun)

    def _tell(self, line: bytes) -> None:
        for start in range(0, len(line), LINE_MAX):
            text = line[start : start + LINE_MAX].decode("utf-8", "replace")
            text = _CONTROL_SEQUENCE.sub("", text).strip()
            if text:
                self._on_line(excerpt(text, _SHOWN_MAX))


class Session(ChannelHandler):
    """A shell without a terminal, which draws instead of telling where it is given one. It is
    opened at once, and the link lives on when the server ends it.

    `on_line` gets each line of either stream; `on_refused` why there is no session.
    """

    def __init__(
        self, link: Link, on_line: Callable[[str], None], on_refused: Callable[[str], None]
    ) -> None:
        self._on_refused = on_refused
        self._output, self._errors = Lines(on_line), Lines(on_line)
        self._channel = link.connection.open_channel("session", b"", self)

    def close(self) -> None:
        """Leave it: nothing is told any more. Idempotent."""
        self._channel.close()

    def opened(self) -> None:
        # No reply is asked for: some of these servers give none.
        self._channel.request("shell")

    def open_failed(self, reason: int, description: str) -> None:
        self._on_refused(excerpt(description) or f"reason {reason}")

    def data(self, data: memoryview) -> None:
        self._output.feed(bytes(data))
        self._channel.consumed(len(data))

    def stderr(self, data: bytes) -> None:
        self._errors.feed(data)

    def eof(self) -> None:
        self._end()

    def closed(self) -> None:
        self._end()

    def _end(self) -> None:
        self._output.end()
        self._errors.end()
