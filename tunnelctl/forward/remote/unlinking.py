"""Removes the file of a unix socket on the server that is in the way of a forward.

sshd leaves it there when a link ends, and cannot bind it again (sshd_config(5),
StreamLocalBindUnlink). If the profile asks for it, one command is run by the shell of the account
there. Must never remove a socket that something answers on, as far as the server lets us test it,
nor anything but a socket.
"""

from __future__ import annotations

import asyncio
import shlex

from tunnelctl.forward.channel_requests import direct
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.remote_command import run
from tunnelctl.wire.channel import ChannelHandler

_WITHIN = 5.0  # seconds for each of the two channels


async def unlink(link: Link, path: str) -> bool:
    """Run the command; returns whether it was run. Its effect shows at the next request."""
    try:
        async with asyncio.timeout(_WITHIN):
            if await _is_answered(link, path):
                return False
        quoted = shlex.quote(path)
        async with asyncio.timeout(_WITHIN):
            return await run(link, f"test -S {quoted} && rm -f {quoted}") is not None
    except TimeoutError:
        return False


async def _is_answered(link: Link, path: str) -> bool:
    answer = _Answer(link)
    kind, data = direct(Endpoint(path=path), ("127.0.0.1", 0))
    channel = link.connection.open_channel(kind, data, answer)
    try:
        return await answer.outcome
    finally:
        channel.close()


class _Answer(ChannelHandler):
    """Whether the channel was opened."""

    def __init__(self, link: Link) -> None:
        self.outcome: asyncio.Future[bool] = link.reactor.loop.create_future()

    def opened(self) -> None:
        self._is(True)

    def open_failed(self, reason: int, description: str) -> None:
        self._is(False)

    def closed(self) -> None:
        self._is(False)

    def _is(self, opened: bool) -> None:
        if not self.outcome.done():
            self.outcome.set_result(opened)
