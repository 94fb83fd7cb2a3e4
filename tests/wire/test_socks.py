"""SOCKS 4, 4a and 5 as clients speak them, whole and byte by byte, and what is not SOCKS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.wire.messages import OpenFailure
from tunnelctl.wire.socks import Reply, SocksError, SocksServer, reply_for

GREETING = b"\x05\x01\x00"
REQUESTS = {
    "5 by name": (GREETING + b"\x05\x01\x00\x03\x02db\x15\x38", Endpoint("db", 5432)),
    "5 by IPv4": (GREETING + b"\x05\x01\x00\x01\x0a\x00\x00\x07\x00\x50", Endpoint("10.0.0.7", 80)),
    "5 by IPv6": (
        GREETING + b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50",
        Endpoint("::1", 80),
    ),
    "4": (b"\x04\x01\x00\x50\x0a\x00\x00\x07me\x00", Endpoint("10.0.0.7", 80)),
    "4a": (b"\x04\x01\x15\x38\x00\x00\x00\x01\x00db.internal\x00", Endpoint("db.internal", 5432)),
    "5 with a name of 255 bytes": (
        GREETING + b"\x05\x01\x00\x03\xff" + b"a" * 255 + b"\x00\x50",
        Endpoint("a" * 255, 80),
    ),
}
GRANTED = {5: b"\x05\x00\x00\x01" + bytes(6), 4: b"\x00\x5a" + bytes(6)}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_understood_however_it_is_cut(name: str) -> None:
    data, request = REQUESTS[name]
    for size in (1, 2, 3, len(data)):
        server, said = SocksServer(), b""
        for start in range(0, len(data), size):
            assert server.request is None
            said += server.receive(data[start : start + size])
        assert server.request == request
        assert said == (b"\x05\x00" if data[0] == 5 else b"")
        assert server.reply(Reply.GRANTED) == GRANTED[data[0]]
        assert server.rest == b""


@pytest.mark.parametrize("name", REQUESTS)
def test_what_comes_behind_the_request_is_kept(name: str) -> None:
    data, _ = REQUESTS[name]
    server = SocksServer()
    server.receive(data + b"early")
    assert server.rest == b"early"


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"SSH-2.0-x\r\n", b""),
        (b"\x05\x01\x02", b"\x05\xff"),  # password only
        (b"\x05\x00", b"\x05\xff"),  # no method at all
        (GREETING + b"\x05\x02\x00\x01\x0a\x00\x00\x07\x00\x50", b"\x05\x00\x05\x07"),  # BIND
        (
            GREETING + b"\x05\x03\x00\x01\x0a\x00\x00\x07\x00\x50",
            b"\x05\x00\x05\x07",
        ),  # UDP ASSOCIATE
        (GREETING + b"\x05\x01\x00\x09", b"\x05\x00\x05\x08"),
        (GREETING + b"\x05\x01\x00\x03\x00\x00\x50", b"\x05\x00\x05\x01"),  # an empty name
        (GREETING + b"\x05\x01\x00\x03\x03a\x00b\x00\x50", b"\x05\x00\x05\x01"),
        (GREETING + b"\x05\x01\x00\x01\x0a\x00\x00\x07\x00\x00", b"\x05\x00\x05\x02"),  # port 0
        (GREETING + b"\x04\x01\x00\x01", b"\x05\x00"),
        (b"\x04\x02\x00\x50\x0a\x00\x00\x07\x00", b"\x00\x5b"),  # BIND
        (b"\x04\x01\x00\x50\x0a\x00\x00\x07" + b"u" * 300, b"\x00\x5b"),
        (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00" + b"n" * 300, b"\x00\x5b"),
    ],
)
def test_what_is_not_offered_is_refused_in_the_words_of_the_protocol(
    data: bytes, reply: bytes
) -> None:
    with pytest.raises(SocksError) as refused:
        SocksServer().receive(data)
    assert refused.value.reply[: len(reply)] == reply
    assert bool(refused.value.reply) == bool(reply)


@given(st.binary(max_size=600), st.integers(1, 50))
def test_arbitrary_bytes_raise_nothing_but_socks_errors(data: bytes, size: int) -> None:
    server = SocksServer()
    try:
        for start in range(0, len(data), size):
            if server.request is None:
                server.receive(data[start : start + size])
    except SocksError:
        return
    assert server.request is not None or len(data) < 600


@pytest.mark.parametrize(
    ("reason", "text", "reply"),
    [
        (OpenFailure.ADMINISTRATIVELY_PROHIBITED, "open failed", Reply.NOT_ALLOWED),
        (OpenFailure.CONNECT_FAILED, "Connection refused", Reply.CONNECTION_REFUSED),
        (OpenFailure.CONNECT_FAILED, "Network is unreachable", Reply.NETWORK_UNREACHABLE),
        (OpenFailure.CONNECT_FAILED, "No route to host", Reply.HOST_UNREACHABLE),
        (OpenFailure.CONNECT_FAILED, "Connection timed out", Reply.HOST_UNREACHABLE),
        (OpenFailure.UNKNOWN_CHANNEL_TYPE, "", Reply.COMMAND_NOT_SUPPORTED),
        (OpenFailure.RESOURCE_SHORTAGE, "", Reply.GENERAL_FAILURE),
    ],
)
def test_a_refused_channel_has_a_reply_code(reason: int, text: str, reply: Reply) -> None:
    assert reply_for(reason, text) is reply
