"""The cross-stream canary: not one byte reaches a connection that it was not sent to.

Targets that reset in mid-stream make channels close while data for them is under way, which is
where a multiplexer sends bytes into another connection. Streams whose every byte says which
connection it belongs to run beside them.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
from typing import Any

import pytest

from tests.support.clients import watch
from tests.support.services import EchoService, ResetService, connect, reset
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import tunnel_to

# For each mixture; .ci/run takes longer, and an hour of it is for a night.
_SECONDS = float(os.environ.get("TUNNELCTL_CANARY_SECONDS", "3"))
_RESETTERS = 6
_LEAVERS = 4
_WATCHED = 6
_POISON = b"\xee" * 262_144  # what no stream that is watched has so much of


def provoke(port: int, over: threading.Event) -> int:
    """Pour bytes into a target that resets, again and again; how often that was."""
    times = 0
    while not over.is_set():
        try:
            with connect(port) as connection:
                while True:
                    connection.sendall(_POISON)
        except ConnectionError:
            times += 1
    return times


def leave(port: int, seed: int, over: threading.Event) -> int:
    """Leave an echo at a random moment, in either way: before it is open, in the middle of a
    message, with bytes on their way back; how often that was."""
    times, chance = 0, random.Random(seed)
    while not over.is_set():
        connection = connect(port)
        try:
            connection.settimeout(chance.choice((0.001, 0.01, 0.1)))
            for _ in range(chance.randrange(4)):
                connection.sendall(_POISON[: chance.randrange(len(_POISON))])
                if chance.random() < 0.5:
                    connection.recv(chance.randrange(1, 100_000))
            if chance.random() < 0.3:
                connection.shutdown(socket.SHUT_WR)
        except TimeoutError:
            pass  # the moment has come
        finally:
            (reset if chance.random() < 0.5 else socket.socket.close)(connection)
        times += 1
    return times


@pytest.mark.timeout(180 + 2 * _SECONDS)
@pytest.mark.parametrize(
    ("cipher", "server_limit", "our_limit", "leavers"),
    [
        ("aes128-gcm@openssh.com", "4M", None, 0),
        ("aes128-gcm@openssh.com", "4M", None, _LEAVERS),
        ("chacha20-poly1305@openssh.com", "4M", None, _LEAVERS),
        ("aes128-gcm@openssh.com", "2M", 2_000_000, _LEAVERS),
        ("aes256-ctr", "4M", 4_000_000, _LEAVERS),
    ],
)
async def test_no_foreign_byte_beside_connections_that_are_cut(
    sshd: OpenSSHServer, cipher: str, server_limit: str, our_limit: int | None, leavers: int
) -> None:
    sshd.reconfigure(f"Ciphers {cipher}", f"RekeyLimit {server_limit}", "LogLevel DEBUG1")
    over = threading.Event()
    with ResetService(after=100_000) as breaker, EchoService() as echo:
        async with tunnel_to(sshd.host(rekey_limit=our_limit)) as tunnel:
            breaking = [await tunnel.local(breaker.port), await tunnel.remote(breaker.port)]
            steady = [await tunnel.local(echo.port), await tunnel.remote(echo.port)]
            watched = [in_thread(watch, steady[n % 2], n, over) for n in range(_WATCHED)]
            cut = [in_thread(provoke, breaking[n % 2], over) for n in range(_RESETTERS)]
            cut += [in_thread(leave, steady[n % 2], n, over) for n in range(leavers)]
            try:
                watching: list[asyncio.Future[Any]] = [tunnel.link.closed, *watched, *cut]
                done, _ = await asyncio.wait(
                    watching, timeout=_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                over.set()
            assert not done, f"ended early: {[task.exception() or task.result() for task in done]}"
            totals = await asyncio.gather(*watched)
            times = await asyncio.gather(*cut)
            assert not tunnel.link.closed.done()
    exchanges = sshd.log.count("SSH2_MSG_NEWKEYS received")
    print(f"{cipher}: {sum(totals)} right bytes, {sum(times)} cut, {exchanges} key exchanges")
    assert min(totals) > 1_000_000
    assert min(times) > 3
    assert exchanges > 3
