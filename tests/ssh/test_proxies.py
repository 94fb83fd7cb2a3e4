"""SOCKS 5 and HTTP proxies on the way to a real server, and everything that they can refuse."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.ssh.clients import REFERENCE, SECRET, assert_hidden, no_secret, secret
from tests.ssh.reach import reach
from tests.support.clients import download
from tests.support.here import here
from tests.support.ports import free_port, is_listening
from tests.support.proxies import HttpProxy, ScriptedProxy, Socks5Proxy
from tests.support.services import SourceService, Stream
from tests.support.sshd import OpenSSHServer
from tests.support.tunnel import tunnel_to
from tests.support.waiting import BUSY, eventually_async
from tunnelctl import clock
from tunnelctl.errors import Code
from tunnelctl.spec.host import Host, Proxy, ProxyKind
from tunnelctl.ssh.connect import fetch_host_key

BULK = 120_000_000  # bytes
SOCKS5, HTTP = ProxyKind.SOCKS5, ProxyKind.HTTP


def behind(kind: ProxyKind, port: int, **changes: Any) -> Host:
    """A host that only the proxy on `port` could know."""
    host = {"name": "far", "hostname": "far.example", "user": "me", "connect_timeout": 5.0}
    return Host(**{**host, **changes, "proxy": Proxy(kind, "127.0.0.1", port)})


def with_login(kind: ProxyKind, port: int, user: str = "me") -> Proxy:
    return Proxy(kind, "127.0.0.1", port, user=user, password=REFERENCE)


@contextmanager
def ssh_dynamic(server: OpenSSHServer) -> Iterator[int]:
    """OpenSSH's own SOCKS server, `ssh -D`; the port it listens on."""
    program = shutil.which("ssh")
    if program is None:
        pytest.skip("ssh is not installed")
    port = free_port()
    words = f"-N -D 127.0.0.1:{port} -p {server.port} -i {server.identity} -F none"
    options = f"-o UserKnownHostsFile={server.known_hosts} -o ExitOnForwardFailure=yes"
    with subprocess.Popen(
        [program, *words.split(), *options.split(), f"{server.user}@127.0.0.1"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield port
        finally:
            process.terminate()


async def test_bulk_through_openssh_as_socks_server(sshd: OpenSSHServer) -> None:
    stream = Stream(BULK, seed=5)
    with ssh_dynamic(sshd) as port, SourceService(stream) as source:
        await eventually_async(lambda: is_listening(port), "ssh -D listens")
        proxy = Proxy(SOCKS5, "127.0.0.1", port)
        async with tunnel_to(sshd.host(hostname="localhost", host_key_alias=sshd.pattern,
                                       proxy=proxy)) as tunnel:  # fmt: skip
            got = await asyncio.to_thread(download, await tunnel.local(source.port))
            assert (got.size, got.sha256, got.end) == (BULK, stream.sha256, "fin")
            assert tunnel.link.info.address == f"localhost:{sshd.port}"


async def test_socks_resolves_the_name_and_checks_the_password(sshd: OpenSSHServer) -> None:
    with Socks5Proxy({"far.example": "127.0.0.1"}, ("me", SECRET)) as proxy:
        host = sshd.host(
            hostname="far.example",
            host_key_alias=sshd.pattern,
            proxy=with_login(SOCKS5, proxy.port),
        )
        async with reach() as r:
            await r.link(host, secret)
            failure = await r.fails(Code.AUTH_FAILED, host, lambda _: "wrong " + SECRET)
    assert proxy.asked == ["far.example"]
    assert_hidden(failure)
    assert f"proxy socks5://127.0.0.1:{proxy.port} does not connect" in failure.message
    assert not failure.retryable


async def test_an_address_is_sent_as_one(sshd: OpenSSHServer) -> None:
    with Socks5Proxy({"127.0.0.1": "127.0.0.1", "::1": "127.0.0.1"}) as proxy:
        async with reach() as r:
            for address in ("127.0.0.1", "::1"):
                host = sshd.host(hostname=address, host_key_alias=sshd.pattern,
                                 proxy=Proxy(SOCKS5, "127.0.0.1", proxy.port))  # fmt: skip
                await r.link(host)
    assert proxy.asked == ["127.0.0.1", "::1"]


@pytest.mark.parametrize(
    "greeting", [b"", b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.0 103 Hints\r\nLink: x\r\n\r\n"]
)
async def test_http_connect_with_bytes_right_behind_the_header(
    sshd: OpenSSHServer, greeting: bytes
) -> None:
    """The server's version line comes in one piece with the proxy's answer: none of it is lost."""
    stream = Stream(BULK, seed=9)
    with HttpProxy(greeting=greeting) as proxy, SourceService(stream) as source:
        host = sshd.host(proxy=Proxy(HTTP, "127.0.0.1", proxy.port))
        async with tunnel_to(host) as tunnel:
            got = await asyncio.to_thread(download, await tunnel.local(source.port))
            assert (got.size, got.sha256, got.end) == (BULK, stream.sha256, "fin")
    assert proxy.asked == [f"127.0.0.1:{sshd.port}"]


async def test_http_password(sshd: OpenSSHServer) -> None:
    with HttpProxy(login=("me", SECRET)) as proxy:
        host = sshd.host(proxy=with_login(HTTP, proxy.port))
        async with reach() as r:
            await r.link(host, secret)
            failure = await r.fails(Code.AUTH_FAILED, host, lambda _: "wrong " + SECRET)
            assert_hidden(failure)
            assert "407 Proxy Authentication Required" in failure.message
            await r.fails(Code.AUTH_FAILED, sshd.host(proxy=Proxy(HTTP, "127.0.0.1", proxy.port)))


async def test_a_hop_behind_a_proxy(sshd: OpenSSHServer) -> None:
    with HttpProxy() as proxy:
        hop = sshd.host(name="hop", proxy=Proxy(HTTP, "127.0.0.1", proxy.port))
        async with reach() as r:
            await r.link(sshd.host(proxy_jump=(hop,)))
    assert proxy.asked == [f"127.0.0.1:{sshd.port}"]


async def test_the_key_of_a_host_behind_a_proxy(sshd: OpenSSHServer) -> None:
    with HttpProxy() as proxy:
        host = sshd.host(proxy=Proxy(HTTP, "127.0.0.1", proxy.port))
        kind, _ = await fetch_host_key(host, here(), no_secret)
    assert f"{kind} " in sshd.host_keys[0]
    assert len(proxy.asked) == 1


# What they refuse


SAYS_NO = [
    (SOCKS5, (b"\5\0", b"\5\1\0\1" + bytes(6)), Code.UNREACHABLE),
    (SOCKS5, (b"\5\0", b"\5\2\0\1" + bytes(6)), Code.FORWARD_DENIED),
    (SOCKS5, (b"\5\0", b"\5\3\0\1" + bytes(6)), Code.UNREACHABLE),
    (SOCKS5, (b"\5\0", b"\5\4\0\1" + bytes(6)), Code.UNREACHABLE),
    (SOCKS5, (b"\5\0", b"\5\5\0\1" + bytes(6)), Code.CONNECTION_REFUSED),
    (SOCKS5, (b"\5\0", b"\5\6\0\1" + bytes(6)), Code.TIMED_OUT),
    (SOCKS5, (b"\5\0", b"\5\7\0\1" + bytes(6)), Code.HANDSHAKE_FAILED),
    (SOCKS5, (b"\5\0", b"\5\x63\0\1" + bytes(6)), Code.HANDSHAKE_FAILED),
    (SOCKS5, (b"\5\0", b"\5\0\0\x09" + bytes(6)), Code.HANDSHAKE_FAILED),
    (SOCKS5, (b"\5\0", b"\4\0\0\1" + bytes(6)), Code.HANDSHAKE_FAILED),
    (SOCKS5, (b"\5\xff",), Code.AUTH_FAILED),
    (SOCKS5, (b"\5\2",), Code.AUTH_FAILED),
    (SOCKS5, (b"HTTP/1.1 400 Bad Request\r\n\r\n",), Code.HANDSHAKE_FAILED),
    (HTTP, (b"HTTP/1.1 403 \x1b[31mForbidden\r\n\r\n",), Code.FORWARD_DENIED),
    (HTTP, (b"HTTP/1.1 400 Bad Request\r\n\r\n",), Code.HANDSHAKE_FAILED),
    (HTTP, (b"HTTP/1.1 502 Bad Gateway\r\n\r\n",), Code.UNREACHABLE),
    (HTTP, (b"HTTP/1.1 503\r\n\r\n",), Code.UNREACHABLE),
    (HTTP, (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n",), Code.TIMED_OUT),
    (HTTP, (b"HTTP/1.1 302 Found\r\nLocation: http://x\r\n\r\n",), Code.HANDSHAKE_FAILED),
    (HTTP, (b"HTTP/1.1 twohundred\r\n\r\n",), Code.HANDSHAKE_FAILED),
    (HTTP, (b"HTTP/2 200 OK\r\n\r\n",), Code.HANDSHAKE_FAILED),
    (HTTP, (b"SSH-2.0-OpenSSH_9.9\r\n\r\n",), Code.HANDSHAKE_FAILED),
    (HTTP, (b"X" * 20_000,), Code.HANDSHAKE_FAILED),
    (HTTP, (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,), Code.HANDSHAKE_FAILED),
]


@pytest.mark.parametrize(("kind", "answers", "code"), SAYS_NO)
async def test_each_refusal_has_its_code(
    kind: ProxyKind, answers: tuple[bytes, ...], code: Code
) -> None:
    with ScriptedProxy(*answers) as proxy:
        async with reach() as r:
            failure = await r.fails(code, behind(kind, proxy.port))
    start = f"far (far.example:22): proxy {kind}://127.0.0.1:{proxy.port} does not connect: "
    assert failure.message.startswith(start)
    assert "\x1b" not in failure.message
    assert len(failure.message) < 400


@pytest.mark.parametrize("kind", list(ProxyKind))
async def test_a_proxy_that_hangs_up_or_only_hangs(kind: ProxyKind) -> None:
    async with reach() as r:
        with ScriptedProxy(b"", hangs_up=True) as proxy:
            failure = await r.fails(Code.HANDSHAKE_FAILED, behind(kind, proxy.port))
            assert "closed the connection" in failure.message
        with ScriptedProxy() as proxy:
            began = clock.monotonic()
            host = behind(kind, proxy.port, connect_timeout=0.5)
            failure = await r.fails(Code.TIMED_OUT, host)
            assert clock.monotonic() - began < 0.5 + BUSY
            assert f"talking to the proxy {kind}://127.0.0.1:{proxy.port}" in failure.message


@pytest.mark.parametrize("kind", list(ProxyKind))
async def test_a_proxy_that_is_not_there(kind: ProxyKind) -> None:
    port = free_port()
    async with reach() as r:
        failure = await r.fails(Code.CONNECTION_REFUSED, behind(kind, port))
    assert failure.message == (
        f"far (far.example:22): proxy {kind}://127.0.0.1:{port}: "
        f"connection refused by 127.0.0.1:{port}"
    )


@pytest.mark.parametrize(
    ("kind", "hostname"), [(HTTP, "far\r\nX-Evil: 1"), (SOCKS5, "far.\0example"),
                           (SOCKS5, "a" * 256), (HTTP, "far example")]
)  # fmt: skip
async def test_a_name_that_could_say_something_else(kind: ProxyKind, hostname: str) -> None:
    with ScriptedProxy(b"\5\0") as proxy:
        async with reach() as r:
            failure = await r.fails(
                Code.CONFIG_INVALID, behind(kind, proxy.port, hostname=hostname)
            )
    assert not failure.retryable


async def test_a_user_that_the_protocol_cannot_say() -> None:
    with ScriptedProxy(b"\5\2") as proxy:
        async with reach() as r:
            for kind, user in ((HTTP, "a:b"), (SOCKS5, "x" * 256)):
                host = Host("far", "far.example", proxy=with_login(kind, proxy.port, user))
                failure = await r.fails(Code.CONFIG_INVALID, host, secret)
                assert_hidden(failure)
