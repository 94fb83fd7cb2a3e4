"""A request sent again: which headers go, and every kind of answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import pytest

from tests.inspect.corpus import GET, OK, upgrade
from tests.inspect.talks import CLIENT, SERVER, Talk, inspected, pass_on, shown
from tests.inspect.test_conversation import SWITCHED
from tests.support.services import Service
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.inspect.replay import Replay, ReplayAnswer
from tunnelctl.state.documents.exchange import BLACKED_OUT, Headers


async def again(
    talk: Talk, answer: bytes, given: Headers = ()
) -> tuple[ReplayAnswer, Sequence[bytes]]:
    """The answer to the request of a conversation, and the lines and body of what was sent."""
    received: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        received.append(connection.recv(100_000))
        connection.sendall(answer)

    async with inspected() as inspection:
        (exchange,) = await shown(inspection, talk)
        replay = Replay(exchange, given)
        with Service(serve) as service:
            sock = socket.socket()
            sock.setblocking(False)
            place = ("127.0.0.1", service.port)
            await asyncio.get_running_loop().sock_connect(sock, place)
            answered = await replay.send(sock, "web:80")
        head, _, body = received[0].partition(b"\r\n\r\n")
        return answered, [*head.split(b"\r\n"), body]


async def test_headers_of_one_connection_are_left_out() -> None:
    request = (
        b"POST /p?q HTTP/1.1\r\nHost: web\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"
        b"TE: trailers\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n"
        b"Expect: 100-continue\r\nX-Name: caf\xe9\r\nCookie: c\r\nProxy-Authorization: p\r\n"
        b"Tunnelctl-Replay: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    answer, sent = await again([(CLIENT, request), (SERVER, OK)], OK)
    assert sent[0] == b"POST /p?q HTTP/1.1"
    number = sent[3].partition(b": ")[2]
    assert number.isdigit()
    assert list(sent[1:]) == [
        b"Host: web",
        b"X-Name: caf\xe9",
        b"Tunnelctl-Replay: " + number,
        b"Connection: close",
        b"Content-Length: 3",
        b"abc",
    ]
    assert (answer.status, bytes(answer.response.body)) == (200, b"hello")
    assert answer.left_out == ("Cookie", "Proxy-Authorization")


async def test_the_users_headers_replace_those_of_the_request() -> None:
    given = (("cookie", "mine"), ("HOST", "other"), ("X-New", "1"))
    request = GET.replace(b"\r\n\r\n", b"\r\nCookie: theirs\r\n\r\n")
    answer, sent = await again([(CLIENT, request), (SERVER, OK)], OK, given)
    assert {b"cookie: mine", b"HOST: other", b"X-New: 1"} <= set(sent)
    assert not [line for line in sent if b"here" in line or BLACKED_OUT.encode() in line]
    assert answer.left_out == ()


@pytest.mark.parametrize(
    ("answer", "status", "size", "truncated"),
    [
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204, 0, False),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            200,
            2,
            False,
        ),
        (b"HTTP/1.0 500 No\r\n\r\nto the end", 500, 10, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000, 200, 65536, True),
    ],
)
async def test_each_kind_of_answer(answer: bytes, status: int, size: int, truncated: bool) -> None:
    answered, _ = await again([(CLIENT, GET), (SERVER, OK)], answer)
    response = answered.response
    assert (answered.status, len(response.body), response.truncated) == (status, size, truncated)


async def test_secrets_of_an_answer_are_blacked_out_as_well() -> None:
    answered, _ = await again(
        [(CLIENT, GET), (SERVER, OK)], OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: s\r\n\r\n")
    )
    assert ("Set-Cookie", BLACKED_OUT) in answered.response.headers, "as it was written"


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n", OK[:-1]])
async def test_no_answer_is_a_failure_of_the_target(answer: bytes) -> None:
    with pytest.raises(Failure) as failed:
        await again([(CLIENT, GET), (SERVER, OK)], answer)
    assert failed.value.code is Code.TARGET_UNREACHABLE
    assert "web:80" in failed.value.message


@pytest.mark.parametrize(
    "talk",
    [
        [(CLIENT, upgrade(b"websocket")), (SERVER, SWITCHED)],
        [(CLIENT, b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"), (SERVER, OK)],
        [(CLIENT, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nshort")],
    ],
)
async def test_what_cannot_be_sent_again_is_refused(talk: Talk) -> None:
    with pytest.raises(Failure) as failed:
        await again(talk, OK)
    assert failed.value.code is Code.USAGE


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"Content-Length: 5\r\n\r\nhal", b"ly"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n", b"0\r\n\r\n"),
    ],
)
async def test_a_request_is_not_sent_again_before_it_has_ended(first: bytes, rest: bytes) -> None:
    async with inspected() as inspection:
        tap = inspection.tap("127.0.0.1:50000", "17", client_is_socket=True)
        await pass_on(inspection, tap, [(CLIENT, b"POST / HTTP/1.1\r\nHost: h\r\n" + first)])
        await eventually_async(lambda: len(inspection.last()) == 1, "it is shown")
        (exchange,) = inspection.last()
        await eventually_async(lambda: exchange.request.size == 3, "a part of the body is shown")
        with pytest.raises(Failure, match="end of its body"):
            Replay(exchange, ())
        await pass_on(inspection, tap, [(CLIENT, rest)])
        await eventually_async(lambda: not exchange.request.truncated, "it has ended")
        Replay(exchange, ())
        tap.ended()


@pytest.mark.parametrize("pair", [("X", "a\r\nY: b"), ("X Y", "a"), ("X", "☃")])
async def test_a_header_that_is_none_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(Failure) as failed:
        await again([(CLIENT, GET), (SERVER, OK)], OK, (pair,))
    assert failed.value.code is Code.USAGE
