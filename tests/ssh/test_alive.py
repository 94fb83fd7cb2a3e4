"""Signs of life: a peer that answers is never called silent."""

from __future__ import annotations

import asyncio

from tests.ssh.reach import reach
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code

INTERVAL = 0.25  # seconds


async def test_an_idle_peer_that_answers_is_alive(sshd: OpenSSHServer) -> None:
    """Every answer comes at once, so that each interval of silence is just a whole one."""
    async with reach() as r:
        host = sshd.host(server_alive_interval=INTERVAL, server_alive_count_max=3)
        link = await r.link(host)
        await asyncio.wait((link.closed,), timeout=16 * INTERVAL)
        assert not link.closed.done(), link.closed.result()
        sshd.pause()
        assert (await link.closed).code is Code.PEER_SILENT
        sshd.resume()
