"""What is shown about each kind of HTTP/1, however the bytes are cut."""

from __future__ import annotations

from typing import Any

import pytest

from tests.inspect.corpus import CORPUS, GET, NOT_SHOWN, OK, upgrade
from tests.inspect.talks import CLIENT, SERVER, inspected, is_parsed, pass_on, shown
from tests.support.waiting import eventually_async
from tunnelctl.state.documents.exchange import HttpExchange

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


@PIECES
@pytest.mark.parametrize("name", CORPUS)
async def test_each_exchange_is_shown(name: str, size: int | None) -> None:
    talk, expected = CORPUS[name]
    async with inspected() as inspection:
        found = await shown(inspection, talk, size)
        assert [brief(exchange) for exchange in found] == list(expected)
        assert all(exchange.has_ended for exchange in found)
        assert inspection.summary()["not_inspected"]["connections"] == 0


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


LONG_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def in_chunks(*sizes: int) -> bytes:
    return b"".join(b"%x\r\n" % size + b"x" * size + b"\r\n" for size in sizes)


@pytest.mark.parametrize("step", [997, 4096, len(in_chunks(65536))])
@pytest.mark.parametrize(
    ("rest", "is_copied"),
    [
        (in_chunks(65536) * 16, False),
        (in_chunks(4096, 1, 100_000) * 10, False),
        (in_chunks(65536) * 8 + b"ff;a=b\r\n" + b"x" * 255 + b"\r\n", False),
        (in_chunks(10) * 2000, True),
    ],
)
async def test_the_rest_of_a_body_in_chunks_is_counted(
    rest: bytes, is_copied: bool, step: int
) -> None:
    kept = in_chunks(60_000, 60_000)
    async with inspected() as inspection:
        tap = inspection.tap("127.0.0.1:50000", "17", client_is_socket=True)
        await pass_on(inspection, tap, [(CLIENT, GET * 2), (SERVER, LONG_CHUNKED + kept[:-10])])
        await eventually_async(lambda: is_parsed(inspection), "the start is parsed")
        before = inspection.backlog.put_so_far
        for piece in (kept[-10:], *(rest[at : at + step] for at in range(0, len(rest), step))):
            await pass_on(inspection, tap, [(SERVER, piece)])
            await eventually_async(lambda: is_parsed(inspection), "what was copied is parsed")
        copied = inspection.backlog.put_so_far - before
        assert (copied > len(rest) / 4) == is_copied
        await pass_on(inspection, tap, [(SERVER, b"0\r\nX-Trailer: 1\r\n\r\n" + OK)], step)
        tap.ended()
        await eventually_async(lambda: is_parsed(inspection), "everything is parsed")
        found = inspection.last()
        assert [brief(one)[2] for one in found] == [200, 200]
        assert found[0].response is not None
        assert found[0].response.size == 120_000 + rest.count(b"x")
        assert not found[0].response.is_cut
        assert not any(inspection.summary()["not_inspected"]["reasons"].values())


async def test_a_long_body_in_chunks_that_is_broken_is_counted() -> None:
    talk = [(CLIENT, GET), (SERVER, LONG_CHUNKED + in_chunks(100_000) * 2 + b"no size\r\n")]
    async with inspected() as inspection:
        (exchange,) = await shown(inspection, talk, 32768)
        assert exchange.response is not None
        assert (exchange.response.size, exchange.response.is_cut) == (200_000, True)
        assert inspection.summary()["not_inspected"]["reasons"]["malformed"] == 1


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
