"""Conversations of every kind: what both sides send, and what is to be shown."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

from tests.inspect.talks import CLIENT, SERVER, Talk

GET = b"GET /a?b=1 HTTP/1.1\r\nHost: here\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


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
    "server-sent events": (
        [
            (CLIENT, GET),
            (SERVER, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
            (SERVER, b"data: 1\n\n"),
            (SERVER, b"data: 2\n\n"),
        ],
        [got(b"data: 1\n\ndata: 2\n\n")],
    ),
    "a request that never ends": (
        [
            (CLIENT, b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (CLIENT, b"3\r\nabc\r\n5\r\nde"),
        ],
        [("POST", "/p", None, b"abcde", None)],
    ),
    "binary": (
        [(CLIENT, GET), (SERVER, OK.replace(b"hello", b"\0\r\n\xff\n"))],
        [got(b"\0\r\n\xff\n")],
    ),
    "a websocket": (
        [
            (CLIENT, upgrade(b"websocket")),
            (SERVER, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"),
            (SERVER, b"Upgrade: websocket\r\n\r\n\x81\x05hello"),
            (CLIENT, b"\x82\x82\0\0\0\0hi"),
        ],
        [got(b"", "/u", 101)],
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

# The reason why it is not inspected, and how many exchanges are shown before.
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
