"""The cross-stream canary: not one byte reaches a connection that it was not sent to.

Targets that reset in mid-stream make channels close while data for them is under way, which is
where a multiplexer sends bytes into another connection. Streams whose every byte says which
connection it belongs to run beside them.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.support.clients import watch
from tests.support.services import EchoService, ResetService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import tunnel_to

_SECONDS = 8.0
_RESETTERS = 6
_WATCHED = 6


def provoke(port: int, over: threading.Event) -> int:
    """Pour bytes into a target that resets, again and again; how often that was."""
    times = 0
    poison = b"\xee" * 262_144
    while not over.is_set():
        try:
            with connect(port) as connection:
                while True:
                    connection.sendall(poison)
        except ConnectionError:
            times += 1
    return times


@pytest.mark.parametrize(
    ("cipher", "rekey"),
    [
        ("aes128-gcm@openssh.com", False),
        ("aes128-gcm@openssh.com", True),
        ("aes256-ctr", True),
    ],
)
async def test_no_foreign_byte_beside_connections_that_are_reset(
    sshd: OpenSSHServer, cipher: str, rekey: bool
) -> None:
    sshd.reconfigure(f"Ciphers {cipher}", *(["RekeyLimit 2M"] if rekey else []))
    over = threading.Event()
    with ResetService(after=100_000) as breaker, EchoService() as echo:
        async with tunnel_to(sshd.host(rekey_limit=2_000_000 if rekey else None)) as tunnel:
            breaking = [await tunnel.local(breaker.port), await tunnel.remote(breaker.port)]
            steady = [await tunnel.local(echo.port), await tunnel.remote(echo.port)]
            provoked = [in_thread(provoke, breaking[n % 2], over) for n in range(_RESETTERS)]
            watched = [in_thread(watch, steady[n % 2], n, over) for n in range(_WATCHED)]
            try:
                watching: list[asyncio.Future[Any]] = [tunnel.link.closed, *watched]
                done, _ = await asyncio.wait(
                    watching, timeout=_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                over.set()
            assert not done, f"ended early: {[task.exception() or task.result() for task in done]}"
            totals = await asyncio.gather(*watched)
            resets = await asyncio.gather(*provoked)
    assert min(totals) > 2_000_000
    assert sum(resets) > 100
