"""New keys under load, and every cipher of the allow-list, against OpenSSH's own server."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.clients import exchange, upload
from tests.support.services import EchoService, Received, SinkService, Stream, connect, receive
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import tunnel_to

MIB = 1024 * 1024

GCM = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
CHACHA = "chacha20-poly1305@openssh.com"
CTR = ("aes128-ctr", "aes192-ctr", "aes256-ctr")
ETM = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
MACS = (*ETM, "hmac-sha2-256", "hmac-sha2-512")


async def carry_both_ways(server: OpenSSHServer, size: int, **host: int) -> str:
    """Load both directions of a local and a remote forward at once; the cipher in use."""
    streams = [Stream(size, seed=n) for n in range(2)]
    with EchoService() as echo, SinkService() as sink:
        async with tunnel_to(server.host(**host)) as tunnel:
            ports = [await tunnel.local(echo.port), await tunnel.remote(echo.port)]
            connections = [connect(port) for port in ports]
            try:
                back = [in_thread(receive, connection) for connection in connections]
                sent = await asyncio.gather(
                    *(
                        in_thread(stream.send, connection)
                        for stream, connection in zip(streams, connections, strict=True)
                    )
                )
                for connection in connections:
                    connection.shutdown(socket.SHUT_WR)
                assert await asyncio.gather(*back) == [Received(size, s, "fin") for s in sent]
            finally:
                for connection in connections:
                    connection.close()
            port = await tunnel.local(sink.port)
            digest = await in_thread(upload, port, streams[0])
            assert await in_thread(sink.received) == Received(size, digest, "fin")
            assert not tunnel.link.closed.done()
            return tunnel.link.info.cipher


@pytest.mark.parametrize("cipher", [GCM[0], CHACHA, CTR[2]])
async def test_the_server_makes_new_keys_under_load(sshd: OpenSSHServer, cipher: str) -> None:
    sshd.reconfigure("RekeyLimit 1M", "LogLevel DEBUG1", f"Ciphers {cipher}")
    assert await carry_both_ways(sshd, 24 * MIB) == cipher
    assert sshd.log.count("SSH2_MSG_NEWKEYS received") > 10


@pytest.mark.parametrize("cipher", [GCM[0], CHACHA, CTR[2]])
async def test_we_make_new_keys_under_load(sshd: OpenSSHServer, cipher: str) -> None:
    sshd.reconfigure("LogLevel DEBUG1", f"Ciphers {cipher}")
    assert await carry_both_ways(sshd, 24 * MIB, rekey_limit=MIB) == cipher
    assert sshd.log.count("SSH2_MSG_NEWKEYS received") > 10


async def test_both_make_new_keys_while_connections_come_and_go(sshd: OpenSSHServer) -> None:
    sshd.reconfigure("RekeyLimit 1M", "ClientAliveInterval 1", "LogLevel DEBUG1")
    stream = Stream(48 * MIB, seed=5)
    with EchoService() as echo:
        async with tunnel_to(sshd.host(rekey_limit=MIB)) as tunnel:
            port = await tunnel.local(echo.port)
            with connect(port) as loaded:
                back = in_thread(receive, loaded)
                sent = in_thread(stream.send, loaded)
                served = 0
                while not sent.done():
                    with connect(port) as passing:
                        message = b"%d" % served
                        assert await in_thread(exchange, passing, message) == message
                    served += 1
                loaded.shutdown(socket.SHUT_WR)
                assert await back == Received(stream.size, await sent, "fin")
                assert served > 3
    assert sshd.log.count("SSH2_MSG_NEWKEYS received") > 20


@pytest.mark.parametrize("cipher", [*GCM, CHACHA])
async def test_a_cipher_that_needs_no_mac(sshd: OpenSSHServer, cipher: str) -> None:
    sshd.reconfigure(f"Ciphers {cipher}")
    assert await carry_both_ways(sshd, 4 * MIB) == cipher


@pytest.mark.parametrize("mac", MACS)
@pytest.mark.parametrize("cipher", CTR)
async def test_ctr(sshd: OpenSSHServer, cipher: str, mac: str) -> None:
    sshd.reconfigure(f"Ciphers {cipher}", f"MACs {mac}")
    assert await carry_both_ways(sshd, 4 * MIB) == cipher


async def test_gcm_is_what_we_ask_for_first(sshd: OpenSSHServer) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        assert tunnel.link.info.cipher in GCM


async def test_chacha_is_what_we_ask_for_where_there_is_no_gcm(sshd: OpenSSHServer) -> None:
    sshd.reconfigure(f"Ciphers {','.join(CTR)},{CHACHA}")
    async with tunnel_to(sshd.host()) as tunnel:
        assert (tunnel.link.info.cipher, tunnel.link.info.mac) == (CHACHA, None)
