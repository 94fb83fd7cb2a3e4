"""What a client of a reverse SOCKS forward may reach."""

from __future__ import annotations

import ipaddress

import pytest

from tunnelctl.spec.permit import parse_permit, permits


@pytest.mark.parametrize(
    ("line", "name", "address", "port", "allowed"),
    [
        ("10.0.0.0/8:443", "10.1.2.3", "10.1.2.3", 443, True),
        ("10.0.0.0/8:443", "db.internal", "10.1.2.3", 443, True),
        ("10.0.0.0/8:443", "10.1.2.3", "10.1.2.3", 80, False),
        ("10.0.0.0/8:*", "10.1.2.3", "10.1.2.3", 80, True),
        ("10.0.0.0/8:443", "11.1.2.3", "11.1.2.3", 443, False),
        ("db.internal:5432", "db.internal", "10.1.2.3", 5432, True),
        ("db.internal:5432", "DB.Internal", "10.1.2.3", 5432, True),
        ("db.internal:5432", "10.1.2.3", "10.1.2.3", 5432, False),
        ("*.internal:5432", "db.internal", "10.1.2.3", 5432, True),
        ("*.internal:5432", "internal", "10.1.2.3", 5432, False),
        ("*.internal:5432", "evilinternal", "10.1.2.3", 5432, False),
        # This machine and link-local only where they were named.
        ("0.0.0.0/0:*", "127.0.0.1", "127.0.0.1", 80, False),
        ("0.0.0.0/0:*", "169.254.169.254", "169.254.169.254", 80, False),
        ("::/0:*", "::ffff:127.0.0.1", "::ffff:127.0.0.1", 80, False),
        ("::/0:*", "fe80::1", "fe80::1", 80, False),
        ("*.internal:80", "rebound.internal", "127.0.0.1", 80, False),
        ("db.internal:80", "db.internal", "127.0.0.1", 80, False),
        ("db.internal:80", "db.internal", "169.254.169.254", 80, False),
        ("db.internal:80", "db.internal", "::1", 80, False),
        ("127.0.0.1:80", "127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.0/8:80", "127.0.0.9", "127.0.0.9", 80, True),
        ("localhost:80", "localhost", "127.0.0.1", 80, True),
        ("[::1]:80", "::1", "::1", 80, True),
        ("169.254.0.0/16:80", "169.254.169.254", "169.254.169.254", 80, True),
    ],
)
def test_a_line_of_permit(line: str, name: str, address: str, port: int, allowed: bool) -> None:
    lines = (parse_permit(line),)
    assert permits(lines, name, ipaddress.ip_address(address), port, ours=False) is allowed


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("10.0.0.0/8:*", False),
        ("*.internal:*", False),
        ("10.0.0.7:*", True),
        ("a.internal:*", False),
    ],
)
def test_our_own_listeners_must_be_named(line: str, allowed: bool) -> None:
    address = ipaddress.ip_address("10.0.0.7")
    assert permits((parse_permit(line),), "a.internal", address, 80, ours=True) is allowed


@pytest.mark.parametrize(
    "line",
    [
        "",
        "db",
        ":80",
        "db:",
        "db:0",
        "db:65536",
        "db:http",
        "*:80",
        "*x:80",
        "a*.b:80",
        "10.0.0.1/8:80",
    ],
)
def test_a_line_that_says_nothing_clear_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_permit(line)
