"""Global requests over a link to sshd, each with its reply as a future."""

from __future__ import annotations

import asyncio

import pytest

from tests.ssh.reach import reach
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code
from tunnelctl.ssh.link.link import GlobalReply
from tunnelctl.wire import messages
from tunnelctl.wire.messages import ProtocolError, Reader

SIGN = "keepalive@openssh.com"  # refused by every sshd
FORWARD = ("tcpip-forward", messages.string("localhost") + messages.u32(0))
SECONDS = 10


def as_it_is(reply: GlobalReply) -> GlobalReply:
    return reply


async def test_a_request_has_its_reply(sshd: OpenSSHServer) -> None:
    async with reach() as r, asyncio.timeout(SECONDS):
        link = await r.link(sshd.host())
        refused, granted = link.ask(SIGN, b"", as_it_is), link.ask(*FORWARD, as_it_is)
        assert await refused == GlobalReply(None)
        reply = await granted
        assert reply.data is not None
        assert Reader(reply.data).u32() > 0


async def test_a_reply_that_nobody_waits_for_is_told_all_the_same(sshd: OpenSSHServer) -> None:
    """What the server granted has to be taken back."""
    async with reach() as r, asyncio.timeout(SECONDS):
        link = await r.link(sshd.host())
        replies: list[GlobalReply] = []
        link.ask(*FORWARD, replies.append).cancel()
        await link.ask(SIGN, b"", as_it_is)
        (reply,) = replies
        assert reply.data is not None
        assert not reply.is_awaited


async def test_a_link_that_has_ended_refuses(sshd: OpenSSHServer) -> None:
    async with reach() as r, asyncio.timeout(SECONDS):
        link = await r.link(sshd.host())
        before = link.ask(SIGN, b"", as_it_is)
        link.close()
        assert await before == GlobalReply(None)
        assert await link.ask(SIGN, b"", as_it_is) == GlobalReply(None)


async def test_a_reply_that_breaks_the_protocol_ends_the_link(sshd: OpenSSHServer) -> None:
    def breaks(reply: GlobalReply) -> None:
        raise ProtocolError("no such port")

    async with reach() as r, asyncio.timeout(SECONDS):
        link = await r.link(sshd.host())
        answer = link.ask(SIGN, b"", breaks)
        failure = await link.closed
        assert failure.code is Code.SESSION_LOST
        assert "no such port" in failure.message
        with pytest.raises(asyncio.CancelledError):
            answer.result()
