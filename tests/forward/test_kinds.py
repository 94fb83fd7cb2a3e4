"""SOCKS both ways and unix sockets on either side, against OpenSSH's own server."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import socket
import stat
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import ask
from tests.support.ports import free_port
from tests.support.services import EchoService, ReplyAfterEndService, SpeakFirstService
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, rule, tunnel_to
from tunnelctl.errors import Code, Failure
from tunnelctl.forward import socks
from tunnelctl.forward.local import LocalForward
from tunnelctl.forward.remote import RemoteForward
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Side
from tunnelctl.spec.permit import Permit, parse_permit

GREETING = b"\x05\x01\x00"
UPPER = bytes.upper


@contextmanager
def short_folder() -> Iterator[Path]:
    """For unix sockets, whose path may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="tctl-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def forward_of(
    tunnel: Tunnel, side: Side, listen: Endpoint, target: Endpoint | None, **changes: Any
) -> AsyncIterator[LocalForward | RemoteForward]:
    """A forward of any kind on the tunnel's link."""
    spec = dataclasses.replace(rule(side, 0, 1), listen=listen, target=target, **changes)
    forward: LocalForward | RemoteForward
    if side is Side.HERE:
        forward = LocalForward(spec, tunnel.reactor, tunnel.failures.append)
        forward.open()
        forward.attach(tunnel.link)
    else:
        forward = RemoteForward(spec, tunnel.reactor, tunnel.failures.append)
        await forward.open(tunnel.link)
    try:
        yield forward
    finally:
        await forward.close(0)


def listening_port(forward: LocalForward | RemoteForward) -> int:
    assert forward.listening is not None
    return forward.listening.port


def socks5(port: int, request: bytes, question: bytes = b"") -> bytes:
    """A whole SOCKS 5 exchange by hand, sent at once; everything that came back."""
    return ask(port, GREETING + request + question)


def by_name(name: str, port: int) -> bytes:
    return b"\x05\x01\x00\x03" + bytes((len(name),)) + name.encode() + struct.pack(">H", port)


def curl(port: int, option: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["curl", "-s", "--max-time", "10", "--noproxy", "", option, f"127.0.0.1:{port}", url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("option", ["--socks4", "--socks4a", "--socks5", "--socks5-hostname"])
@pytest.mark.parametrize("side", list(Side))
async def test_curl_speaks_through_it(sshd: OpenSSHServer, side: Side, option: str) -> None:
    page = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    with SpeakFirstService(page) as web:
        async with tunnel_to(sshd.host()) as tunnel:
            permit = (parse_permit("127.0.0.1:*"), parse_permit("localhost:*"))
            listen = Endpoint("127.0.0.1", 0)
            async with forward_of(tunnel, side, listen, None, permit=permit) as forward:
                name = "localhost" if option in ("--socks4a", "--socks5-hostname") else LOOPBACK
                url = f"http://{name}:{web.port}/"
                result = await in_thread(curl, listening_port(forward), option, url)
        assert (result.stdout, result.returncode) == ("hello", 0)


async def test_what_a_client_says_early_is_not_lost(sshd: OpenSSHServer) -> None:
    with ReplyAfterEndService(UPPER) as service:
        async with tunnel_to(sshd.host()) as tunnel:
            for side in Side:
                permit = (parse_permit("127.0.0.1:*"),)
                listen = Endpoint("127.0.0.1", 0)
                async with forward_of(tunnel, side, listen, None, permit=permit) as forward:
                    request = by_name(LOOPBACK, service.port)
                    answer = await in_thread(
                        socks5, listening_port(forward), request, b"early words"
                    )
                assert answer == b"\x05\x00" + b"\x05\x00\x00\x01" + bytes(6) + b"EARLY WORDS"


@pytest.mark.parametrize(
    ("config", "name", "reply"),
    [
        ("", "127.0.0.1", 5),  # nobody listens on the port
        ("", "no-such-name.invalid", 4),
        ("PermitOpen 127.0.0.1:1", "127.0.0.1", 2),
        ("AllowTcpForwarding no", "127.0.0.1", 2),
    ],
)
async def test_a_refusal_has_its_reply_code(
    sshd: OpenSSHServer, config: str, name: str, reply: int
) -> None:
    sshd.reconfigure(*([config] if config else []))
    async with tunnel_to(sshd.host()) as tunnel:
        listen = Endpoint("127.0.0.1", 0)
        async with forward_of(tunnel, Side.HERE, listen, None) as forward:
            answer = await in_thread(socks5, listening_port(forward), by_name(name, free_port()))
        assert answer[:4] == b"\x05\x00\x05" + bytes((reply,))
        code = {5: Code.TARGET_REFUSED, 4: Code.TARGET_UNREACHABLE, 2: Code.FORWARD_DENIED}
        assert [failure.code for failure in tunnel.failures] == [code[reply]]
        assert forward.counters.failed == 1


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b""])
async def test_what_is_not_socks_ends_in_order(sshd: OpenSSHServer, data: bytes) -> None:
    async with tunnel_to(sshd.host()) as tunnel:
        listen = Endpoint("127.0.0.1", 0)
        async with forward_of(tunnel, Side.HERE, listen, None) as forward:
            assert await in_thread(ask, listening_port(forward), data) == b""


async def test_a_client_that_takes_too_long_is_sent_away(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socks, "HANDSHAKE_SECONDS", 0.2)
    async with tunnel_to(sshd.host()) as tunnel:
        listen = Endpoint("127.0.0.1", 0)
        async with forward_of(tunnel, Side.HERE, listen, None) as forward:
            reader, writer = await asyncio.open_connection("127.0.0.1", listening_port(forward))
            writer.write(GREETING[:1])
            async with asyncio.timeout(10):
                with pytest.raises(ConnectionResetError):
                    await reader.read()
            writer.close()
            assert (forward.counters.open, forward.counters.failed) == (0, 1)


@pytest.mark.parametrize(
    ("permit", "name", "reply"),
    [
        ("127.0.0.1:{port}", "127.0.0.1", 0),
        ("localhost:{port}", "localhost", 0),
        ("0.0.0.0/0:*", "127.0.0.1", 2),  # this machine only where it is named
        ("127.0.0.1:1", "127.0.0.1", 2),
        ("example.com:{port}", "127.0.0.1", 2),
    ],
)
async def test_the_far_side_reaches_what_is_permitted(
    sshd: OpenSSHServer, permit: str, name: str, reply: int
) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            lines: tuple[Permit, ...] = (parse_permit(permit.format(port=echo.port)),)
            listen = Endpoint("127.0.0.1", 0)
            async with forward_of(tunnel, Side.THERE, listen, None, permit=lines) as forward:
                answer = await in_thread(
                    socks5, listening_port(forward), by_name(name, echo.port), b"ping"
                )
            assert answer[:4] == b"\x05\x00\x05" + bytes((reply,))
            assert answer[12:] == (b"ping" if reply == 0 else b"")
            expected = [] if reply == 0 else [Code.FORWARD_DENIED]
            assert [failure.code for failure in tunnel.failures] == expected


async def test_our_own_listeners_are_out_of_reach_unless_named(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            ours = await tunnel.local(echo.port)
            for line, reply in (("127.0.0.0/8:*", 2), (f"127.0.0.1:{ours}", 0)):
                listen = Endpoint("127.0.0.1", 0)
                permit = (parse_permit(line),)
                async with forward_of(tunnel, Side.THERE, listen, None, permit=permit) as forward:
                    answer = await in_thread(
                        socks5, listening_port(forward), by_name(LOOPBACK, ours), b"ping"
                    )
                assert answer[3] == reply


# Unix sockets.


def ask_path(path: Path, question: bytes) -> bytes:
    """Send, say that this was all, and return everything that came back."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize("side", list(Side))
async def test_a_socket_file_leads_to_a_port_and_a_port_to_a_socket_file(
    sshd: OpenSSHServer, side: Side
) -> None:
    with short_folder() as folder, ReplyAfterEndService(UPPER) as service:
        async with tunnel_to(sshd.host()) as tunnel:
            path = folder / "a.sock"
            port = Endpoint(LOOPBACK, service.port)
            async with forward_of(tunnel, side, Endpoint(path=str(path)), port):
                assert await in_thread(ask_path, path, b"to a port") == b"TO A PORT"
                back = forward_of(tunnel, side, Endpoint(LOOPBACK, 0), Endpoint(path=str(path)))
                async with back as forward:
                    answer = await in_thread(ask, listening_port(forward), b"and back")
                    assert answer == b"AND BACK"


async def test_a_socket_file_of_ours_is_ours_alone_and_goes_with_us(sshd: OpenSSHServer) -> None:
    with short_folder() as folder:
        async with tunnel_to(sshd.host()) as tunnel:
            path = folder / "a.sock"
            listen = Endpoint(path=str(path))
            async with forward_of(tunnel, Side.HERE, listen, Endpoint(LOOPBACK, 1)):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert not path.exists()


async def test_only_a_dead_socket_file_is_replaced(sshd: OpenSSHServer) -> None:
    with short_folder() as folder, ReplyAfterEndService(UPPER) as service:
        async with tunnel_to(sshd.host()) as tunnel:
            path = folder / "a.sock"
            listen, target = Endpoint(path=str(path)), Endpoint(LOOPBACK, service.port)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                other.bind(str(path))
                other.listen()
                living = forward_of(tunnel, Side.HERE, listen, target)
                with pytest.raises(Failure) as refused:
                    await living.__aenter__()
                assert refused.value.code is Code.PORT_IN_USE
                assert path.exists()
            async with forward_of(tunnel, Side.HERE, listen, target):  # now it is dead
                assert await in_thread(ask_path, path, b"mine now") == b"MINE NOW"
            path.write_text("a file of the user's")
            with pytest.raises(Failure):
                await forward_of(tunnel, Side.HERE, listen, target).__aenter__()
            assert path.read_text() == "a file of the user's"


# Who may come, and where it listens.


async def test_clients_from_elsewhere_are_turned_away(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            for side in Side:
                for network, comes in (("127.0.0.0/8", True), ("10.0.0.0/8", False)):
                    listen, target = Endpoint(LOOPBACK, 0), Endpoint(LOOPBACK, echo.port)
                    allow = (ip_network(network),)
                    async with forward_of(tunnel, side, listen, target, allow=allow) as forward:
                        port = listening_port(forward)
                        answer = await in_thread(answer_or_nothing, port)
                        assert answer == (b"ping" if comes else b"")


def answer_or_nothing(port: int) -> bytes:
    try:
        return ask(port, b"ping")
    except OSError:  # at whichever step the reset is met
        return b""


@pytest.mark.parametrize("side", list(Side))
async def test_localhost_is_both_families(sshd: OpenSSHServer, side: Side) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            target = Endpoint(LOOPBACK, echo.port)
            async with forward_of(tunnel, side, Endpoint("localhost", 0), target) as forward:
                for address in ("127.0.0.1", "::1"):
                    with socket.create_connection((address, listening_port(forward)), 10) as c:
                        c.sendall(b"ping")
                        assert await in_thread(c.recv, 4) == b"ping"


async def test_more_clients_than_allowed_are_turned_away(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            for side in Side:
                listen, target = Endpoint(LOOPBACK, 0), Endpoint(LOOPBACK, echo.port)
                async with forward_of(tunnel, side, listen, target, max_connections=1) as forward:
                    port = listening_port(forward)
                    with socket.create_connection((LOOPBACK, port), 10) as first:
                        first.sendall(b"ping")
                        assert await in_thread(first.recv, 4) == b"ping"
                        assert await in_thread(answer_or_nothing, port) == b""
                        assert forward.counters.failed == 1
