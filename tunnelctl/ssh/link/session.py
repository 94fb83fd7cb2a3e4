"""The session of a link: the lines that its server prints (RFC 4254 sections 6.1 and 6.5).

Servers that choose a public address for a remote forward (sish, localhost.run and others) print it
there, and some listen only for clients with a session. Owns the one session channel of a link. Must
never send input or obey the output: text is limited, and escaped before it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tunnelctl.spec.host import SessionType
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.sentences import excerpt
from tunnelctl.wire.channel import ChannelHandler

LINE_MAX = 4096  # bytes; longer lines are split

_BREAK = re.compile(rb"[\r\n]+")
# ECMA-48, 5.4: control sequences, such as those for colours. They carry no text.
_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# A letter may become the ten of \U0010ffff.
_SHOWN_MAX = 10 * LINE_MAX


def wants_session(link: Link) -> bool:
    """Whether its settings, and the server's software, call for a session."""
    session_type = link.settings.session_type
    if session_type is SessionType.AUTO:
        # Many servers other than OpenSSH print an address only there; OpenSSH would start a shell.
        return not link.info.software.is_openssh
    return session_type is SessionType.DEFAULT


class Lines:
    """Splits a stream of bytes; `on_line` gets each line that is not empty, escaped."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._begun = b""

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        *whole, self._begun = _BREAK.split(self._begun + data)
        for line in whole:
            self._tell(line)
        while len(self._begun) >= LINE_MAX:
            self._tell(self._begun[:LINE_MAX])
            self._begun = self._begun[LINE_MAX:]

    def end(self) -> None:
        """The end: a rest without a line end is a line too."""
        begun, self._begun = self._begun, b""
        self._tell(begun)

    def _tell(self, line: bytes) -> None:
        for start in range(0, len(line), LINE_MAX):
            text = line[start : start + LINE_MAX].decode("utf-8", "replace")
            text = _CONTROL_SEQUENCE.sub("", text).strip()
            if text:
                self._on_line(excerpt(text, _SHOWN_MAX))


class Session(ChannelHandler):
    """A shell without a terminal, because with one such servers draw. It is opened at once, and the
    link continues when the server ends it.

    `on_line` gets each line of both streams; `on_refused` the reason if there is no session.
    """

    def __init__(
        self, link: Link, on_line: Callable[[str], None], on_refused: Callable[[str], None]
    ) -> None:
        self._on_refused = on_refused
        self._output, self._errors = Lines(on_line), Lines(on_line)
        self._channel = link.connection.open_channel("session", b"", self)

    def close(self) -> None:
        """Stop reading. Idempotent."""
        self._channel.close()

    def opened(self) -> None:
        # Without reply: some of these servers send none.
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
