"""What an idle link keeps in memory: a user has hundreds of them, for days."""

from __future__ import annotations

import gc
import tracemalloc

from tests.ssh.reach import reach
from tests.support.sshd import OpenSSHServer

_LINKS = 8
_KEPT_MAX = 32_000  # bytes a link as Python counts them; with all of its login 40,000


async def test_an_idle_link_keeps_little_of_its_login(sshd: OpenSSHServer) -> None:
    async with reach() as r:
        host = sshd.host()
        tracemalloc.start()
        try:
            await r.link(host)  # what the first one loads, all use
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(_LINKS):
                await r.link(host)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    kept = (after - before) / _LINKS
    assert kept < _KEPT_MAX, f"{kept:.0f} bytes a link"
