"""What servers say of a target that they cannot connect to, and what is made of it.

The texts are those that the servers sent, as tests/forward/test_refusals.py has them again.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.wire.messages import OpenFailure
from tunnelctl.wire.refusals import Refusal, cause, in_words, refusal

ASYNCIO = "[Errno {}] Connect call failed ('10.0.0.1', 80)"
CAUSES = {
    # OpenSSH, Dropbear
    "Connection refused": Refusal.REFUSED,
    "Name or service not known": Refusal.NO_NAME,
    "Temporary failure in name resolution": Refusal.NO_NAME,
    "No address associated with hostname": Refusal.NO_NAME,
    "No route to host": Refusal.HOST_UNREACHABLE,
    "Network is unreachable": Refusal.NETWORK_UNREACHABLE,
    "Connection timed out": Refusal.TIMED_OUT,
    "Operation timed out": Refusal.TIMED_OUT,
    "open failed": Refusal.UNTOLD,
    "Error resolving 'a.b' port '80'. Name or service not known": Refusal.NO_NAME,
    # musl
    "Name does not resolve": Refusal.NO_NAME,
    "Host is unreachable": Refusal.HOST_UNREACHABLE,
    # asyncssh on Linux, macOS and Windows
    ASYNCIO.format(111): Refusal.REFUSED,
    ASYNCIO.format(61): Refusal.REFUSED,
    ASYNCIO.format(113): Refusal.HOST_UNREACHABLE,
    ASYNCIO.format(101): Refusal.NETWORK_UNREACHABLE,
    ASYNCIO.format(110): Refusal.TIMED_OUT,
    f"Multiple exceptions: {ASYNCIO.format(111)}, {ASYNCIO.format(101)}": Refusal.REFUSED,
    "[Errno -2] Name or service not known": Refusal.NO_NAME,
    "[Errno 2] No such file or directory": Refusal.REFUSED,
    "[WinError 10061] The target machine actively refused it": Refusal.REFUSED,
    # Erlang
    "Forwarded connection refused: econnrefused": Refusal.REFUSED,
    "Forwarded connection refused: nxdomain": Refusal.NO_NAME,
    "Forwarded connection refused: ehostunreach": Refusal.HOST_UNREACHABLE,
    "Forwarded connection refused: eacces": Refusal.UNTOLD,
    # Go
    "dial tcp 127.0.0.1:5432: connect: connection refused": Refusal.REFUSED,
    "dial tcp: lookup no-such.invalid on 10.0.0.53:53: no such host": Refusal.NO_NAME,
    "dial tcp [2001:db8::1]:80: connect: no route to host": Refusal.HOST_UNREACHABLE,
    "dial tcp 10.0.0.1:80: connect: network is unreachable": Refusal.NETWORK_UNREACHABLE,
    "dial tcp 10.0.0.1:80: i/o timeout": Refusal.TIMED_OUT,
    # Node, Java
    "connect ECONNREFUSED 127.0.0.1:5432": Refusal.REFUSED,
    "getaddrinfo ENOTFOUND no-such.invalid": Refusal.NO_NAME,
    "UnresolvedAddressException": Refusal.NO_NAME,
    "Failed (NoRouteToHostException) to connect: No route to host": Refusal.HOST_UNREACHABLE,
    # paramiko, libssh
    "": Refusal.UNTOLD,
    # The names of targets are no causes.
    "dial tcp: lookup timeout.connection-refused.example: no such host": Refusal.NO_NAME,
    "Error resolving 'timeout.example' port '80'. Name or service not known": Refusal.NO_NAME,
}


@pytest.mark.parametrize("text", CAUSES)
def test_the_cause_is_known_whoever_says_it(text: str) -> None:
    assert cause(text) is CAUSES[text]
    assert refusal(OpenFailure.CONNECT_FAILED, text) is CAUSES[text]


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        (OpenFailure.ADMINISTRATIVELY_PROHIBITED, Refusal.PROHIBITED),
        (OpenFailure.UNKNOWN_CHANNEL_TYPE, Refusal.UNKNOWN_TYPE),
        (OpenFailure.RESOURCE_SHORTAGE, Refusal.SHORTAGE),
        (0xFE00_0001, Refusal.UNTOLD),
    ],
)
def test_any_other_reason_counts_whatever_the_text_is(reason: int, meaning: Refusal) -> None:
    assert refusal(reason, "Connection refused") is meaning


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the server does not say why"),
        ("  ", "the server does not say why"),
        ("No route to host", "No route to host"),
        (ASYNCIO.format(113), f"host unreachable ({ASYNCIO.format(113)})"),
        ("Forwarded connection refused: nxdomain", "name not found (nxdomain)"),
        ("Forwarded connection refused: eacces", "eacces"),
        ("[Errno 99] Connect call failed", "[Errno 99] Connect call failed"),
    ],
)
def test_what_people_are_told(text: str, told: str) -> None:
    assert in_words(OpenFailure.CONNECT_FAILED, text) == told


@given(st.integers(0, 0xFFFF_FFFF), st.text())
def test_there_is_always_something_to_say(reason: int, text: str) -> None:
    assert in_words(reason, text).strip()
    assert isinstance(refusal(reason, text), Refusal)
