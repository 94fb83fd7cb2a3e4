"""Which services bar who only connects, by their greeting and by their port."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.spec.barring import ENOUGH, MYSQL, SSH, VNC, Barring, by_greeting, by_port, refusal
from tunnelctl.spec.endpoint import Endpoint

# As they were read from the servers.
MARIADB = bytes.fromhex("64 00 00 00 0a") + b"5.5.5-10.11.19-MariaDB-0+deb12u1\0"
NOT_ALLOWED = bytes.fromhex("44 00 00 00 ff 6a 04") + b"Host '127.0.0.2' is not allowed to connect"


@pytest.mark.parametrize(
    ("heard", "service"),
    [
        (MARIADB, MYSQL),
        (NOT_ALLOWED, MYSQL),
        (MARIADB[:ENOUGH], MYSQL),
        (b"\x4a\0\0\0\x0a8.4.3\0\x0b\0\0\0", MYSQL),
        (bytes.fromhex("050000000b08051a00"), MYSQL),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", SSH),
        (b"SSH-1.99-x\n", SSH),
        (b"RFB 003.008\n", VNC),
        (b"", None),
        (MARIADB[: ENOUGH - 1], None),
        (b"220 mail.example.com ESMTP Postfix\r\n", None),
        (b"* OK IMAP4rev1\r\n", None),
        (b"-DENIED Redis is running in protected mode\r\n", None),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None),
        (b"\x4a\0\0\0\x0a\0\0\0\0\0\0\0", None),
        (b"\x4a\0\0\0\xff\0\0\0\0\0", None),
    ],
)
def test_a_greeting_tells(heard: bytes, service: Barring | None) -> None:
    assert by_greeting(heard) is service


@given(st.binary(max_size=20))
def test_any_bytes_are_something_or_nothing_and_more_of_them_change_nothing(heard: bytes) -> None:
    found = by_greeting(heard)
    refusal(heard)
    if len(heard) >= ENOUGH:
        assert by_greeting(heard[:ENOUGH]) is found


@pytest.mark.parametrize(
    ("target", "service"),
    [
        (Endpoint("db.internal", 3306), MYSQL),
        (Endpoint("db.internal", 33060), MYSQL),
        (Endpoint("127.0.0.1", 22), SSH),
        (Endpoint("desk", 5901), VNC),
        (Endpoint("desk", 6000), None),
        (Endpoint("db.internal", 5432), None),
        (Endpoint(path="/run/mysqld/mysqld.sock"), None),
        (None, None),
    ],
)
def test_a_port_tells(target: Endpoint | None, service: Barring | None) -> None:
    assert by_port(target) is service


def test_what_an_error_packet_says() -> None:
    packet = bytes.fromhex("0a 00 00 00 ff 69 04") + b"barred!" + b"more"
    assert refusal(packet) == ("barred!", True)
    assert refusal(NOT_ALLOWED) == (NOT_ALLOWED[7:].decode(), False)
    assert refusal(MARIADB) is None
