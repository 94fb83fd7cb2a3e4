"""What is shown about each kind of HTTP/1, however the bytes are cut."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

import pytest

from tests.inspect.talks import CLIENT, SERVER, Talk, inspected, shown
from tunnelctl.state.exchange import HttpExchange

GET = b"GET /a?b=1 HTTP/1.1\r\nHost: here\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PIECES = pytest.mark.parametrize("size", [None, 1, 3, 7])


def brief(exchange: HttpExchange) -> tuple[Any, ...]:
    """Method, path, status, and both bodies."""
    response = exchange.response
    return (
        exchange.method,
        exchange.path,
        exchange.status,
        bytes(exchange.request.body),
        None if response is None else bytes(response.body),
    )


def got(body: bytes, path: str = "/a?b=1", status: int = 200) -> tuple[Any, ...]:
    return ("GET", path, status, b"", body)


def upgrade(protocol: bytes, more: bytes = b"") -> bytes:
    lines = b"GET /u HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: " + protocol
    return lines + b"\r\n" + more + b"\r\n"


CORPUS: dict[str, tuple[Talk, Sequence[tuple[Any, ...]]]] = {
    "a length": ([(CLIENT, GET), (SERVER, OK)], [got(b"hello")]),
    "bare line feeds": (
        [(CLIENT, GET.replace(b"\r", b"")), (SERVER, OK.replace(b"\r", b""))],
        [got(b"hello")],
    ),
    "keep-alive": ([(CLIENT, GET), (SERVER, OK)] * 3, [got(b"hello")] * 3),
    "pipelining": ([(CLIENT, GET * 3), (SERVER, OK * 3)], [got(b"hello")] * 3),
    "a response before the request has ended": (
        [
            (CLIENT, b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab"),
            (SERVER, OK),
            (CLIENT, b"cd" + GET),
            (SERVER, OK),
        ],
        [("POST", "/p", 200, b"abcd", b"hello"), got(b"hello")],
    ),
    "chunks with extensions and trailers": (
        [
            (CLIENT, GET),
            (
                SERVER,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\nSet-Cookie: s\r\n\r\n",
            ),
            (CLIENT, GET),
            (SERVER, OK),
        ],
        [got(b"hello world"), got(b"hello")],
    ),
    "chunks from the client": (
        [
            (CLIENT, b"PUT /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (CLIENT, b"3\r\nabc\r\n0\r\n\r\n" + GET),
            (SERVER, OK * 2),
        ],
        [("PUT", "/p", 200, b"abc", b"hello"), got(b"hello")],
    ),
    "HEAD": (
        [
            (CLIENT, GET.replace(b"GET", b"HEAD") + GET),
            (SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + OK),
        ],
        [("HEAD", "/a?b=1", 200, b"", b""), got(b"hello")],
    ),
    "interim responses": (
        [
            (CLIENT, b"POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"),
            (CLIENT, b"Content-Length: 3\r\n\r\n"),
            (SERVER, b"HTTP/1.1 100 Continue\r\n\r\n"),
            (CLIENT, b"abc"),
            (SERVER, b"HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n" + OK),
        ],
        [("POST", "/p", 200, b"abc", b"hello")],
    ),
    "204 and 304": (
        [
            (CLIENT, GET * 3),
            (SERVER, b"HTTP/1.1 204 No Content\r\n\r\n"),
            (SERVER, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n" + OK),
        ],
        [got(b"", status=204), got(b"", status=304), got(b"hello")],
    ),
    "a response until the connection ends": (
        [(CLIENT, GET), (SERVER, b"HTTP/1.0 200 OK\r\n\r\nto the end")],
        [got(b"to the end")],
    ),
    "no response": ([(CLIENT, GET)], [("GET", "/a?b=1", None, b"", None)]),
    "gzip": (
        [
            (CLIENT, GET),
            (SERVER, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 25\r\n\r\n"),
            (SERVER, gzip.compress(b"hello", mtime=0)),
        ],
        [got(gzip.compress(b"hello", mtime=0))],
    ),
    "h2c declined": (
        [
            (CLIENT, upgrade(b"h2c", b"HTTP2-Settings: AAMAAABkAAQ\r\n")),
            (SERVER, OK),
            (CLIENT, GET),
            (SERVER, OK),
        ],
        [got(b"hello", "/u"), got(b"hello")],
    ),
    "an upgrade declined after the next request": (
        [(CLIENT, upgrade(b"websocket") + GET), (SERVER, OK * 2)],
        [got(b"hello", "/u"), got(b"hello")],
    ),
}


@PIECES
@pytest.mark.parametrize("name", CORPUS)
async def test_each_exchange_is_shown(name: str, size: int | None) -> None:
    talk, expected = CORPUS[name]
    async with inspected() as inspection:
        found = await shown(inspection, talk, size)
        assert [brief(exchange) for exchange in found] == list(expected)
        assert all(exchange.has_ended for exchange in found)
        assert inspection.summary()["not_inspected"]["connections"] == 0


NOT_SHOWN: dict[str, tuple[Talk, str, int]] = {
    "TLS": ([(CLIENT, b"\x16\x03\x01\x02\x00\x01\x00"), (SERVER, b"\x16\x03\x03")], "tls", 0),
    "HTTP/2": (
        [(CLIENT, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0"), (SERVER, b"\0\0\0\4\0")],
        "http2",
        0,
    ),
    "h2c accepted": (
        [
            (CLIENT, upgrade(b"h2c")),
            (SERVER, b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
            (SERVER, b"\0\0\0\4\0"),
            (CLIENT, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ],
        "http2",
        1,
    ),
    "CONNECT": (
        [
            (CLIENT, b"CONNECT db:22 HTTP/1.1\r\nHost: db:22\r\n\r\n"),
            (SERVER, b"HTTP/1.1 200 OK\r\n\r\n"),
            (SERVER, b"SSH-2.0-x\r\n"),
            (CLIENT, b"SSH-2.0-y\r\n"),
        ],
        "switched",
        1,
    ),
    "broken request": ([(CLIENT, b"GET /\0 HTTP/9\r\n\r\n"), (SERVER, OK)], "malformed", 0),
    "broken response": ([(CLIENT, GET), (SERVER, b"nonsense\r\n\r\n")], "malformed", 1),
    "a response that nobody asked for": ([(SERVER, b"SSH-2.0-x\r\n\r\n")], "malformed", 0),
    "a long head": ([(CLIENT, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)], "malformed", 0),
    "a broken chunk": (
        [
            (CLIENT, GET),
            (SERVER, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld"),
        ],
        "malformed",
        1,
    ),
    "another length of two": (
        [(CLIENT, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")],
        "malformed",
        0,
    ),
}


@PIECES
@pytest.mark.parametrize("name", NOT_SHOWN)
async def test_what_is_not_shown_is_counted(name: str, size: int | None) -> None:
    talk, reason, before = NOT_SHOWN[name]
    async with inspected() as inspection:
        assert len(await shown(inspection, talk, size)) == before
        counts = inspection.summary()["not_inspected"]
        assert counts["connections"] == 1
        assert counts["reasons"][reason] == 1
        assert 0 < counts["bytes"] <= sum(len(data) for _, data in talk)


async def test_the_times_sizes_and_headers() -> None:
    post = b"POST /p HTTP/1.1\r\nHost: Here\r\nX-Two: 1\r\nx-two: 2\r\n"
    post += b"Content-Length: 2\r\n\r\n\xff\xfe"
    async with inspected() as inspection:
        (exchange,) = await shown(inspection, [(CLIENT, post), (SERVER, OK)])
        document = exchange.as_json()
        assert document["duration_ms"] >= 0
        assert (document["client"], document["connection"]) == ("127.0.0.1:50000", "17")
        request = document["request"]
        assert request["version"] == "HTTP/1.1"
        assert request["headers"][:3] == [["Host", "Here"], ["X-Two", "1"], ["x-two", "2"]]
        assert (request["body"], request["body_base64"], request["size"]) == (None, "//4=", 2)
        assert (document["response"]["body"], document["response"]["truncated"]) == ("hello", False)


@pytest.mark.parametrize("size", [None, 1000, 100_000])
async def test_the_rest_of_a_long_body_is_counted(size: int | None) -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    async with inspected() as inspection:
        found = await shown(inspection, [(CLIENT, GET * 2), (SERVER, long + OK)], size)
        assert [brief(one)[2] for one in found] == [200, 200]
        response = found[0].response
        assert response is not None
        assert (response.size, len(response.body), response.truncated) == (1_000_000, 65536, True)
        assert bytes(found[1].response.body) == b"hello"  # type: ignore[union-attr]  # as asserted


async def test_a_body_that_is_cut_is_marked() -> None:
    async with inspected() as inspection:
        (exchange,) = await shown(inspection, [(CLIENT, GET), (SERVER, OK[:-2])])
        assert exchange.response is not None
        assert exchange.response.as_json()["truncated"] is True
        assert exchange.has_ended


def frame(opcode: int, payload: bytes, *, masked: bool, fin: bool = True, rsv: int = 0) -> bytes:
    first = (0x80 if fin else 0) | rsv | opcode
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    if not masked:
        return bytes([first]) + length + payload
    length = bytes([length[0] | 0x80]) + length[1:]
    return bytes([first]) + length + b"\0\0\0\0" + payload


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@PIECES
async def test_messages_of_a_websocket_are_shown_by_size_and_kind(size: int | None) -> None:
    talk = [
        (CLIENT, upgrade(b"websocket")),
        (SERVER, SWITCHED),
        (SERVER, frame(1, b"hello", masked=False)),
        (CLIENT, frame(2, b"x" * 300, masked=True)),
        (CLIENT, frame(1, b"ab", masked=True, fin=False)),
        (CLIENT, frame(9, b"p", masked=True)),
        (CLIENT, frame(0, b"cd", masked=True)),
        (SERVER, frame(1, b"\xff\xff\0", masked=False, rsv=0x40)),  # compressed
        (SERVER, frame(8, b"\x03\xe8", masked=False)),
    ]
    async with inspected() as inspection:
        (exchange,) = await shown(inspection, talk, size)
        assert exchange.status == 101
        assert exchange.has_ended
        assert [(f.sender, f.kind, f.size) for f in exchange.websocket] == [
            ("server", "text", 5),
            ("client", "binary", 300),
            ("client", "ping", 1),
            ("client", "text", 4),
            ("server", "text", 3),
            ("server", "close", 2),
        ]
