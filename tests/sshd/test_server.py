"""The embedded server, as its own client and as OpenSSH's sees it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.clients import ask, download, upload
from tests.support.here import here
from tests.support.ports import free_port
from tests.support.programs import require
from tests.support.services import (
    EchoService,
    Received,
    ReplyAfterEndService,
    SinkService,
    SourceService,
    Stream,
)
from tests.support.threads import in_thread
from tests.support.tunnel import no_secret, tunnel_to
from tunnelctl.errors import Code, Failure
from tunnelctl.forward.local import LocalForward
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.algorithms import CIPHERS
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host
from tunnelctl.ssh.connect import connect
from tunnelctl.sshd.hello import GREETING, HelloService
from tunnelctl.sshd.server import HELLO, EmbeddedServer

REQUEST = b"GET / HTTP/1.1\r\nHost: hello\r\n\r\n"
MIB = 1024 * 1024


@asynccontextmanager
async def embedded() -> AsyncIterator[tuple[EmbeddedServer, Host]]:
    """A running server, and the host that reaches it."""
    reactor = Reactor(asyncio.get_running_loop())
    server = EmbeddedServer(reactor)
    await server.start()
    try:
        yield server, server.client_host(Host("demo", "ignored"))
    finally:
        await server.close()
        reactor.close()


async def test_it_greets_behind_a_local_forward() -> None:
    async with embedded() as (_, host), tunnel_to(host) as tunnel:
        greeting = LocalForward(
            Forward("hello", Side.HERE, Endpoint(LOOPBACK, 0), HELLO, "demo"),
            tunnel.reactor,
            tunnel.failures.append,
        )
        await greeting.open()
        greeting.attach(tunnel.link)
        assert greeting.listening is not None
        answer = await in_thread(ask, greeting.listening.port, REQUEST)
        await greeting.close(0)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(GREETING.encode())


async def test_it_forwards_both_ways_with_half_close() -> None:
    with ReplyAfterEndService(bytes.upper) as service:
        async with embedded() as (_, host), tunnel_to(host) as tunnel:
            for port in (await tunnel.local(service.port), await tunnel.remote(service.port)):
                assert await in_thread(ask, port, b"until the end") == b"UNTIL THE END"


async def test_a_long_stream_arrives_whole_each_way() -> None:
    stream = Stream(64 * MIB, seed=1)
    with SinkService() as sink, SourceService(stream) as source:
        async with embedded() as (_, host), tunnel_to(host) as tunnel:
            sent = await in_thread(upload, await tunnel.local(sink.port), stream)
            assert await in_thread(sink.received) == Received(stream.size, sent, "fin")
            port = await tunnel.remote(source.port)
            assert await in_thread(download, port) == Received(stream.size, sent, "fin")


async def test_a_refused_target_is_named_as_one() -> None:
    async with embedded() as (_, host), tunnel_to(host) as tunnel:
        port = await tunnel.local(free_port())
        with pytest.raises(ConnectionResetError):
            await in_thread(ask, port, b"anybody there?")
        assert [failure.code for failure in tunnel.failures] == [Code.TARGET_REFUSED]


async def test_killed_and_started_again_it_is_the_same_server() -> None:
    async with embedded() as (server, host), tunnel_to(host) as tunnel:
        port, link = server.port, tunnel.link
        await server.kill()
        failure = await asyncio.wait_for(link.closed, 10)
        assert failure.code is Code.SESSION_LOST
        with pytest.raises(Failure) as refused:
            await tunnel.connect(host)
        assert refused.value.code is Code.CONNECTION_REFUSED
        await server.start()
        assert server.port == port
        await tunnel.connect(host)


async def test_it_lets_in_no_other_key() -> None:
    async with embedded() as (_, host), embedded() as (_, other):
        stranger = dataclasses.replace(host, identity_file=other.identity_file)
        reactor = Reactor(asyncio.get_running_loop())
        with pytest.raises(Failure) as refused:
            await connect(
                stranger,
                reactor,
                environment=here(),
                resolve_secret=no_secret,
                on_stage=lambda stage: None,
            )
        reactor.close()
        assert refused.value.code is Code.AUTH_FAILED


async def test_it_listens_on_loopback_whatever_is_asked_for() -> None:
    with EchoService() as echo:
        async with embedded() as (_, host), tunnel_to(host) as tunnel:
            everywhere = Endpoint("0.0.0.0", 0)
            port = await tunnel.remote(echo.port, listen=everywhere)
            assert await in_thread(ask, port, b"hello") == b"hello"
            # Another address of loopback's network: only a wildcard listener would answer.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.2", port), 5)


async def test_openssh_can_forward_but_not_run_a_command(tmp_path: Path) -> None:
    async with embedded() as (server, host):
        known = tmp_path / "known_hosts"
        command = [
            *("ssh", "-F", "none", "-p", str(server.port), "-i", host.identity_file[0]),
            *("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=accept-new"),
            *("-o", "BatchMode=yes", f"{host.user}@{host.hostname}"),
        ]
        greeted = await in_thread(run, [*command, "-W", str(HELLO)], REQUEST)
        assert greeted.stdout.endswith(GREETING.encode())
        refused = await in_thread(run, [*command, "id"], b"")
        assert refused.returncode == 255
        assert refused.stdout == b""


@pytest.mark.parametrize(
    "options",
    [
        # Each of them alone, where OpenSSH's client would not choose it.
        *(("-o", f"Ciphers={name}") for name in CIPHERS),
        ("-o", "KexAlgorithms=diffie-hellman-group14-sha256"),
        ("-o", "KexAlgorithms=diffie-hellman-group18-sha512"),
        # A MAC that we lack, with a cipher that needs none.
        ("-o", "Ciphers=aes128-gcm@openssh.com", "-o", "MACs=umac-64@openssh.com"),
        ("-o", "Ciphers=chacha20-poly1305@openssh.com", "-o", "MACs=umac-64@openssh.com"),
    ],
)
async def test_openssh_with_these_algorithms(tmp_path: Path, options: tuple[str, ...]) -> None:
    async with embedded() as (server, host):
        command = [
            *("ssh", "-F", "none", "-p", str(server.port), "-i", host.identity_file[0]),
            *("-o", f"UserKnownHostsFile={tmp_path / 'known'}"),
            *("-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", *options),
            *(f"{host.user}@{host.hostname}", "-W", str(HELLO)),
        ]
        greeted = await in_thread(run, command, REQUEST)
        assert greeted.stdout.endswith(GREETING.encode()), greeted.stderr


async def test_dropbears_client_guesses_wrong_and_is_served(tmp_path: Path) -> None:
    """dbclient sends the first packet of its favourite key exchange with its KEXINIT, and our
    favourite is another one (RFC 4253 section 7)."""
    require("dbclient")
    require("dropbearconvert")
    async with embedded() as (server, host):
        key = str(tmp_path / "key")
        convert = ["dropbearconvert", "openssh", "dropbear", host.identity_file[0], key]
        assert (await in_thread(run, convert, b"")).returncode == 0
        greeted = await in_thread(
            run,
            [
                *("dbclient", "-y", "-y", "-p", str(server.port), "-i", key),
                *("-B", str(HELLO), f"{host.user}@{host.hostname}"),
            ],
            REQUEST,
        )
        assert greeted.stdout.endswith(GREETING.encode()), greeted.stderr


async def test_something_that_is_not_ssh_ends_at_once() -> None:
    async with embedded() as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(REQUEST * 2000)
        # Unread bytes of ours turn its orderly end into a reset.
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
        writer.close()


def run(command: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(command, input=stdin, capture_output=True, timeout=30, check=False)


async def test_a_start_that_is_cancelled_leaves_no_port() -> None:
    """At any moment of it, as by a `down` right after an `up`."""
    before = len(os.listdir("/proc/self/fd"))
    for turns in range(8):
        service = HelloService()
        starting = asyncio.create_task(service.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await service.close()
        assert len(os.listdir("/proc/self/fd")) == before, f"after {turns} turns of the loop"
