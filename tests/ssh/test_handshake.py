"""From socket to session: the host key first, every stall bounded, nothing left of a failure."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import paramiko
import pytest

from tests.ssh.clients import fails, log_in, logged_in, no_secret
from tests.support.here import here
from tests.support.hostile import HostileServer
from tests.support.keys import KeyKind
from tests.support.ports import free_port
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import BUSY, eventually
from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.ssh.connect import fetch_host_key
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.login.handshake import Stage
from tunnelctl.ssh.server_key.verify import record

VERSION = b"SSH-2.0-hostile\r\n"


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


# A good server


def test_a_login_reports_its_stage_and_what_was_agreed(sshd: OpenSSHServer) -> None:
    stages: list[Stage] = []
    transport = log_in(sshd.host(), on_stage=stages.append)
    try:
        assert stages == [Stage.AUTHENTICATING]
        assert transport.is_authenticated()
        assert transport.deadline is None
        assert transport.local_cipher == "aes128-gcm@openssh.com"
        assert transport.kex_name in transport.preferred_kex
        assert "OpenSSH" in transport.remote_version
    finally:
        transport.close()


def test_the_ciphers_of_the_host_are_the_ones_offered(sshd: OpenSSHServer) -> None:
    with logged_in(sshd.host(ciphers=("aes256-ctr",))) as transport:
        assert transport.local_cipher == "aes256-ctr"


# The host key


def test_an_unknown_host_gets_no_byte_of_authentication(sshd: OpenSSHServer) -> None:
    stages: list[Stage] = []
    host = sshd.host(user_known_hosts_file=("/nonexistent/known_hosts",))
    for _ in range(20):
        failure = fails(Code.HOST_KEY_UNKNOWN, host, on_stage=stages.append)
    assert "SHA256:" in failure.message
    assert stages == []
    eventually(lambda: sshd.log.count("Connection closed by 127.0.0.1") == 20, "sshd saw them go")
    # What sshd says once a client has named a user.
    assert "authenticating user" not in sshd.log


def test_a_changed_host_key_gets_no_byte_of_authentication(sshd: OpenSSHServer) -> None:
    sshd.rotate_host_key()
    failure = fails(Code.HOST_KEY_CHANGED, sshd.host())
    assert f"{sshd.known_hosts}:1" in failure.message
    assert not failure.retryable
    eventually(lambda: "Connection closed by 127.0.0.1" in sshd.log, "sshd saw it go")
    assert "authenticating user" not in sshd.log


@pytest.mark.parametrize("known", list(KeyKind))
def test_the_key_that_is_known_is_the_one_asked_for(tmp_path: Path, known: KeyKind) -> None:
    server = OpenSSHServer(tmp_path / "sshd", host_keys=tuple(KeyKind))
    line = server.host_keys[list(KeyKind).index(known)]
    server.known_hosts.write_text(f"{server.pattern} {line}\n")
    server.start()
    try:
        with logged_in(server.host()) as transport:
            assert transport.is_authenticated()
    finally:
        server.stop()


def test_a_known_key_that_the_server_lost_is_a_changed_key(tmp_path: Path) -> None:
    server = OpenSSHServer(tmp_path / "sshd", host_keys=(KeyKind.RSA,))
    stranger = OpenSSHServer(tmp_path / "other")
    server.known_hosts.write_text(f"{server.pattern} {stranger.host_keys[0]}\n")
    server.start()
    try:
        failure = fails(Code.HOST_KEY_CHANGED, server.host())
    finally:
        server.stop()
    assert "ssh-rsa" in failure.message
    assert "ssh-ed25519" in failure.message


def test_a_short_rsa_host_key_is_refused() -> None:
    def serve(connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.add_server_key(paramiko.RSAKey.generate(1024))
        with contextlib.suppress(paramiko.SSHException, EOFError):
            transport.start_server(server=paramiko.ServerInterface())
        transport.join()

    with HostileServer(serve) as server:
        failure = fails(Code.INCOMPATIBLE_PEER, server.host)
    assert "1024 bits" in failure.message


def test_a_later_key_exchange_must_show_the_same_key(tmp_path: Path) -> None:
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.add_server_key(first)
        transport.start_server(server=paramiko.ServerInterface())
        transport.add_server_key(paramiko.ECDSAKey.generate())  # in place of the first
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.renegotiate_keys()
        transport.join()
        over.set()

    first = paramiko.ECDSAKey.generate()
    with HostileServer(serve) as server:
        host = dataclasses.replace(server.host, host_key=(fingerprint(first.asbytes()),))
        failure = fails(Code.HANDSHAKE_FAILED, host, on_stage=lambda stage: _wait(over))
    assert "another host key" in failure.message


def _wait(event: threading.Event) -> None:
    assert event.wait(10)


def test_the_key_for_trust_is_the_one_a_login_would_see(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    host = sshd.host(user_known_hosts_file=(str(tmp_path / "new"),))
    unknown = fails(Code.HOST_KEY_UNKNOWN, host)

    kind, blob = asyncio.run(fetch_host_key(host, here(), no_secret))

    assert f"{kind} " in sshd.host_keys[0]
    assert fingerprint(blob) in unknown.message
    record(host, blob, here())
    with logged_in(host) as transport:
        assert transport.is_authenticated()


def test_fetching_a_key_says_what_is_wrong_and_can_be_cancelled(sshd: OpenSSHServer) -> None:
    async def cancelled() -> None:
        async with asyncio.timeout(0.2):
            await fetch_host_key(sshd.host(), here(), no_secret)

    with pytest.raises(Failure) as caught:
        asyncio.run(fetch_host_key(sshd.host(port=free_port()), here(), no_secret))
    assert caught.value.code is Code.CONNECTION_REFUSED
    sshd.pause()
    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())


# Nothing in common


@pytest.mark.parametrize(
    ("line", "kind", "offered"),
    [
        (
            "KexAlgorithms diffie-hellman-group14-sha1",
            "key exchange method",
            "diffie-hellman-group14-sha1",
        ),
        ("Ciphers aes256-cbc", "cipher", "aes256-cbc"),
        ("HostKeyAlgorithms ssh-rsa", "host key algorithm", "ssh-rsa"),
        ("Ciphers aes128-ctr\nMACs hmac-sha1", "MAC", "hmac-sha1"),
    ],
)
def test_what_the_server_offers_is_said(tmp_path: Path, line: str, kind: str, offered: str) -> None:
    server = OpenSSHServer(tmp_path / "sshd", config=(line,), host_keys=(KeyKind.RSA,))
    server.start()
    try:
        for _ in range(20 if kind == "cipher" else 1):
            failure = fails(Code.INCOMPATIBLE_PEER, server.host())
    finally:
        server.stop()
    assert f"no common {kind}: we offer" in failure.message
    assert offered in failure.message
    assert "server (127.0.0.1:" in failure.message
    assert not failure.retryable


# Servers that are no good


def says(*pieces: bytes) -> Callable[[socket.socket], None]:
    """A script that sends these and ends the stream."""

    def script(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return script


def stalls_after(*pieces: bytes) -> Callable[[socket.socket], None]:
    """A script that sends these, and then reads and says nothing more."""

    def script(connection: socket.socket) -> None:
        says(*pieces)(connection)
        while connection.recv(65_536):
            pass

    return script


def kexinit() -> bytes:
    """A packet with a KEXINIT that agrees with anything we offer."""
    lists = (
        "curve25519-sha256@libssh.org",
        "ssh-ed25519",
        *("aes128-gcm@openssh.com",) * 2,
        *("hmac-sha2-256",) * 2,
        *("none",) * 2,
        *("",) * 2,
    )
    names = b"".join(struct.pack(">I", len(text)) + text.encode() for text in lists)
    return packet(b"\x14" + os.urandom(16) + names + b"\0" + bytes(4))


def packet(payload: bytes) -> bytes:
    padding = 8 - (5 + len(payload)) % 8 + 8
    return struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)


@pytest.mark.parametrize(
    "script",
    [
        stalls_after(),
        stalls_after(b"SSH-2.0-no end of line"),
        stalls_after(b"a line before the version\r\n"),
        stalls_after(VERSION),
        stalls_after(VERSION, kexinit()),
        stalls_after(VERSION, kexinit()[:9]),
    ],
    ids=["accept", "half a version", "first line", "version", "kexinit", "half a packet"],
)
def test_a_stall_ends_at_the_deadline(script: Callable[[socket.socket], None]) -> None:
    with HostileServer(script) as server:
        began = clock.monotonic()
        failure = fails(Code.TIMED_OUT, server.host, seconds=0.5)
        assert 0.4 < clock.monotonic() - began < 0.5 + BUSY
    assert "hostile (127.0.0.1:" in failure.message
    assert failure.retryable


@pytest.mark.parametrize(
    "script",
    [
        says(),
        says(VERSION),
        says(VERSION, kexinit()),
        says(VERSION, b"\0" * 64),
        says(VERSION, b"\xff" * 64),
        says(VERSION, kexinit(), packet(b"\x15"), b"rubbish" * 40),
        says(VERSION, packet(b"\xc1")),
        says(b"SSH-2.0\r\n"),
        says(b"SSH-\r\n"),
        says(b"\r\n" * 2000),
        says(b"x" * 100_000),
        says(b"\0\xff\xfe\r\n"),
    ],
    ids=[
        "closes at once",
        "closes after the version",
        "closes in the key exchange",
        "empty packets",
        "a packet of 4 GiB",
        "keys before an exchange",
        "an unknown message",
        "a short version",
        "a shorter version",
        "lines without end",
        "a line without end",
        "bytes",
    ],
)
def test_a_broken_server_may_be_a_good_one_later(
    script: Callable[[socket.socket], None],
) -> None:
    with HostileServer(script) as server:
        for _ in range(20):
            failure = fails(Code.HANDSHAKE_FAILED, server.host, seconds=5.0)
    assert failure.retryable
    assert failure.message.startswith("hostile (127.0.0.1:")


def test_a_reset_is_a_failed_handshake() -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with HostileServer(reset) as server:
        for _ in range(20):
            failure = fails(Code.HANDSHAKE_FAILED, server.host)
    assert failure.retryable


def test_an_old_protocol_is_incompatible() -> None:
    with HostileServer(says(b"SSH-1.5-old\r\n")) as server:
        failure = fails(Code.INCOMPATIBLE_PEER, server.host)
    assert "SSH-1.5-old" in failure.message


def test_a_web_server_is_quoted_without_its_control_characters() -> None:
    with HostileServer(says(b"HTTP/1.1 400 \x1b[31mBad Request\r\n\r\n")) as server:
        failure = fails(Code.HANDSHAKE_FAILED, server.host)
    assert r"HTTP/1.1 400 \x1b[31mBad Request" in failure.message
    assert "port" in failure.hint


def test_penalties_of_sshd_are_waited_for() -> None:
    with HostileServer(says(b"Not allowed at this time\r\n")) as server:
        failure = fails(Code.HANDSHAKE_FAILED, server.host)
    assert "Not allowed at this time" in failure.message
    assert failure.retryable
    assert failure.retry_after >= 60


def test_a_disconnect_is_quoted() -> None:
    farewell = b"\x01" + struct.pack(">II", 11, 7) + b"go away" + bytes(4)
    with HostileServer(says(VERSION, packet(farewell))) as server:
        failure = fails(Code.HANDSHAKE_FAILED, server.host)
    assert 'it said "go away"' in failure.message


# The network during authentication


def test_a_drop_while_authenticating_is_no_refusal(sshd: OpenSSHServer) -> None:
    for _ in range(20):
        failure = fails(
            Code.HANDSHAKE_FAILED, sshd.host(), on_stage=lambda stage: sshd.kill_sessions()
        )
    assert "authenticating" in failure.message
    assert failure.retryable


def test_a_stall_while_authenticating_ends_at_the_deadline(sshd: OpenSSHServer) -> None:
    began = clock.monotonic()
    failure = fails(Code.TIMED_OUT, sshd.host(), on_stage=lambda stage: sshd.pause(), seconds=1.0)
    assert clock.monotonic() - began < 1.0 + BUSY
    assert "authenticating" in failure.message
    assert failure.retryable


def test_whatever_else_goes_wrong_leaves_nothing(sshd: OpenSSHServer) -> None:
    def breaks(stage: Stage) -> None:
        raise ZeroDivisionError

    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            log_in(sshd.host(), on_stage=breaks)


def test_shutting_the_socket_down_ends_the_wait_at_once() -> None:
    with HostileServer(stalls_after(VERSION)) as server:
        host = dataclasses.replace(server.host, connect_timeout=30.0)

        async def given_up() -> None:
            async with asyncio.timeout(0.2):
                await fetch_host_key(host, here(), no_secret)

        began = clock.monotonic()
        with pytest.raises(TimeoutError):
            asyncio.run(given_up())
        assert clock.monotonic() - began < BUSY  # by itself it would end after 30 s
