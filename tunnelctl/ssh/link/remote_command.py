"""One command on the server, run by the shell of the account (RFC 4254 section 6.5).

Must never obey the output, nor keep more of it than a message needs.
"""

from __future__ import annotations

import asyncio

from tunnelctl.ssh.link.link import Link
from tunnelctl.wire.channel import ChannelHandler
from tunnelctl.wire.messages import string

_KEPT = 4096  # bytes of the output


async def run(link: Link, command: str, stdin: bytes = b"") -> bytes | None:
    """Run it to its end; returns the first 4 KiB of its output and errors, or None if the server
    grants no session."""
    running = _Command(link, command, stdin)
    try:
        return bytes(running.output) if await running.outcome else None
    finally:
        running.channel.close()


class _Command(ChannelHandler):
    """`outcome` is whether there was a session, once it has ended. What is not kept of the output
    is not credited either: its window then holds a talkative command up, until the caller ends
    it."""

    def __init__(self, link: Link, command: str, stdin: bytes) -> None:
        self.outcome: asyncio.Future[bool] = link.reactor.loop.create_future()
        self.output = bytearray()
        self._command = command
        self._stdin = stdin
        self._is_begun = False
        self.channel = link.connection.open_channel("session", b"", self)

    def opened(self) -> None:
        self._is_begun = True
        self.channel.request("exec", string(self._command))
        self.window_opened()

    def open_failed(self, reason: int, description: str) -> None:
        self.closed()

    def window_opened(self) -> None:
        """sshd opens it when the command runs."""
        self._stdin = self._stdin[self.channel.send_data(self._stdin) :]
        if not self._stdin:
            self.channel.send_eof()

    def data(self, data: memoryview) -> None:
        self.output += data[: _KEPT - len(self.output)]

    def stderr(self, data: bytes) -> None:
        self.output += data[: _KEPT - len(self.output)]

    def closed(self) -> None:
        if not self.outcome.done():
            self.outcome.set_result(self._is_begun)
