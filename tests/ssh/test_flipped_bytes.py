"""One wrong bit anywhere in a session: a failure that may pass, and never a wrong byte."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.chaos import ChaosProxy, Direction
from tests.support.services import EchoService, Stream, connect
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, tunnel_to
from tunnelctl.errors import Code, Failure

# The version line, the first lengths, names of KEXINIT, keys and signatures, the login, the
# service, and bytes of a stream: a session's first 4 KB are its handshake.
OFFSETS = (
    *(0, 3, 7, 12, 21, 22, 24, 26, 27, 40, 45, 60, 200, 500, 900, 1100, 1300, 1500, 1800),
    *(2100, 2400, 2700, 3000, 3300, 3600, 4000, 4500, 20_000, 100_000, 101_003, 250_000),
)
_AT_ONCE = 6
_STREAM = Stream(300_000, seed=5)
# What is said of a broken handshake or session. Never that somebody is in the middle, nor that our
# key is not wanted.
_CODES = {Code.HANDSHAKE_FAILED, Code.TIMED_OUT, Code.SESSION_LOST, Code.PEER_SILENT}
# The version line and the names that are offered are bare: what they say may be another protocol.
_BARE = 1300


def there_and_back(port: int) -> str:
    """Send the stream to an echo and compare what comes back: `whole`, or `reset` on the way."""
    try:
        with connect(port, seconds=20.0) as connection:
            for piece in _STREAM.chunks():
                message = bytes(piece)
                connection.sendall(message)
                back = receive_some(connection, len(message))
                assert back == message[: len(back)], "a wrong byte"
                assert len(back) == len(message), "FIN in mid-stream"
    except ConnectionError:  # also of connecting, if the link is lost before that returns
        return "reset"
    return "whole"


def receive_some(connection: socket.socket, size: int) -> bytes:
    """Up to `size` bytes: less where the stream ends, in whichever way."""
    data = bytearray()
    while len(data) < size and (piece := connection.recv(size - len(data))):
        data += piece
    return bytes(data)


@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"])
@pytest.mark.parametrize("direction", list(Direction))
async def test_a_flipped_bit_is_noticed_wherever_it_is(
    sshd: OpenSSHServer, direction: Direction, cipher: str
) -> None:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def attempt(offset: int) -> Code | None:
        async with turns:
            with ChaosProxy(sshd.port) as proxy:
                proxy.flip(offset, direction)
                return await session(proxy.port)

    async def session(port: int) -> Code | None:
        host = sshd.host(
            port=port,
            host_key_alias=sshd.pattern,
            connect_timeout=3.0,
            server_alive_interval=1.0,
            server_alive_count_max=2,
            ciphers=(cipher,),
        )
        try:
            async with tunnel_to(host, reactor=base.reactor) as tunnel:
                return await carry(tunnel)
        except Failure as failure:
            return failure.code

    async def carry(tunnel: Tunnel) -> Code | None:
        if await in_thread(there_and_back, await tunnel.local(echo.port)) == "whole":
            return None
        return (await asyncio.wait_for(asyncio.shield(tunnel.link.closed), 10)).code

    with EchoService() as echo:
        async with tunnel_to(None) as base:
            codes = await asyncio.gather(*map(attempt, OFFSETS))
    ends = dict(zip(OFFSETS, codes, strict=True))
    # Padding before the first keys is nobody's to check (RFC 4253 section 6).
    assert codes.count(None) <= 2, ends
    for offset, code in ends.items():
        bare = offset < _BARE and code is Code.INCOMPATIBLE_PEER
        assert code is None or code in _CODES or bare, ends
