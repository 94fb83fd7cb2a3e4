"""No byte changes: conversations through OpenSSH's server have the same sums, inspected or not."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import cycle
from queue import Queue
from typing import cast

import pytest

from tests.inspect.corpus import CORPUS, GET, NOT_SHOWN, OK
from tests.inspect.talks import CLIENT, SERVER, Talk, inspected, is_parsed
from tests.support.clients import receive_exactly
from tests.support.services import Service, connect
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.inspect.bodies import Chunked
from tunnelctl.inspect.inspector import Inspection
from tunnelctl.inspect.store import EXCHANGES_MAX
from tunnelctl.inspect.tap import ConnectionTap
from tunnelctl.spec.forward import Side

MIB = 1 << 20
BODY_MIB = int(os.environ.get("TUNNELCTL_BODY_MIB", "4"))
BLOCK = random.Random(7).randbytes(MIB)
BOTH_SIDES = pytest.mark.parametrize("side", list(Side))


def speak(connection: socket.socket, talk: Talk, ours: str) -> str:
    """Play one side of a conversation, in turns; the sum of what the other side sent."""
    heard = hashlib.sha256()
    for side, data in talk:
        if side == ours:
            connection.sendall(data)
            continue
        left = len(data)
        while left:
            piece = receive_exactly(connection, min(left, MIB))
            heard.update(piece)
            left -= len(piece)
    if ours == SERVER:
        connection.shutdown(socket.SHUT_WR)
    while rest := connection.recv(65536):
        heard.update(rest)
    return heard.hexdigest()


def sum_of(talk: Talk, side: str) -> str:
    return hashlib.sha256(b"".join(data for speaker, data in talk if speaker == side)).hexdigest()


async def listen(tunnel: Tunnel, side: Side, target: int, inspection: Inspection | None) -> int:
    """A forward to `target` that listens on that side, inspected or not."""
    port = await (tunnel.local(target) if side is Side.HERE else tunnel.remote(target))
    if inspection is not None:
        tunnel.forward().connections.make_tap = lambda connection: inspection.tap(
            connection.client, str(connection.number), client_is_socket=side is Side.HERE
        )
    return port


async def carry(tunnel: Tunnel, side: Side, talk: Talk, inspection: Inspection | None) -> None:
    """Have the conversation over a forward; both sides must hear what the other one said."""
    heard: Future[str] = Future()

    def serve(connection: socket.socket) -> None:
        heard.set_result(speak(connection, talk, SERVER))

    def client(port: int) -> str:
        with connect(port) as connection:
            return speak(connection, talk, CLIENT)

    with Service(serve) as service:
        port = await listen(tunnel, side, service.port, inspection)
        assert await in_thread(client, port) == sum_of(talk, SERVER)
        assert await asyncio.wrap_future(heard) == sum_of(talk, CLIENT)


@BOTH_SIDES
async def test_every_kind_of_conversation_passes_unchanged(sshd: OpenSSHServer, side: Side) -> None:
    talks = {name: talk for name, (talk, _) in CORPUS.items()}
    talks |= {name: talk for name, (talk, _, _) in NOT_SHOWN.items()}
    async with inspected() as inspection, tunnel_to(sshd.host()) as tunnel:
        for talk in talks.values():
            await carry(tunnel, side, talk, None)
            await carry(tunnel, side, talk, inspection)
        await eventually_async(lambda: is_parsed(inspection), "everything is parsed")
        expected = sum(len(seen) for _, seen in CORPUS.values())
        expected += sum(before for _, _, before in NOT_SHOWN.values())
        assert len(inspection.last()) == expected
        assert inspection.summary()["not_inspected"]["connections"] == len(NOT_SHOWN)


def bodies(seed: int) -> Iterator[tuple[str, bytes]]:
    """Long random bodies each way, with a length and in chunks of random sizes."""
    random_bytes = random.Random(seed)
    for size in (0, 1, 65535, 65536, 65537, 24 * MIB):
        body = random_bytes.randbytes(size)
        yield CLIENT, b"PUT /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (size, size)
        yield CLIENT, body
        yield SERVER, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body, seed)
        yield CLIENT, b"POST /%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" % size
        yield CLIENT, chunks(body, seed + 1)
        yield SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body


def chunks(body: bytes, seed: int) -> bytes:
    sizes, parts, start = random.Random(seed), [], 0
    while start < len(body):
        size = min(len(body) - start, sizes.choice((1, 100, 5000, 65536, 300_000)))
        parts.append(b"%x\r\n" % size + body[start : start + size] + b"\r\n")
        start += size
    return b"".join((*parts, b"0\r\n\r\n"))


@BOTH_SIDES
async def test_long_bodies_pass_unchanged_and_are_shown_in_part(
    sshd: OpenSSHServer, side: Side
) -> None:
    talk = list(bodies(5))
    async with inspected() as inspection, tunnel_to(sshd.host()) as tunnel:
        await carry(tunnel, side, talk, inspection)
        await eventually_async(lambda: is_parsed(inspection), "everything is parsed")
        reasons = inspection.summary()["not_inspected"]["reasons"]
        if reasons["overload"]:
            return  # a machine too slow for its parser: the sums count
        assert not any(reasons.values())
        shown = [
            (int(one.path[1:]), one.request.size, one.response and one.response.size)
            for one in inspection.last()
        ]
        assert len(shown) == 12
        assert all(size == asked == answered for size, asked, answered in shown)


def body() -> Iterator[bytes]:
    """BODY_MIB of bytes, no two MiB of which are the same."""
    return (number.to_bytes(8) + BLOCK[8:] for number in range(BODY_MIB))


def with_length(first_line: bytes) -> Iterator[bytes]:
    yield first_line + b"Content-Length: %d\r\n\r\n" % (BODY_MIB * MIB)
    yield from body()


def with_chunks(first_line: bytes) -> Iterator[bytes]:
    yield first_line + b"Transfer-Encoding: chunked\r\n\r\n"
    sizes = cycle((65536, 8000, 300_000, 17, 32768))
    for block in body():
        start = 0
        while start < len(block):
            data = block[start : start + next(sizes)]
            yield b"%x\r\n%b\r\n" % (len(data), data)
            start += len(data)
    yield b"0\r\n\r\n"


def send(connection: socket.socket, parts: Iterable[bytes]) -> str:
    """Send all and the end; the sum."""
    sent = hashlib.sha256()
    for part in parts:
        sent.update(part)
        connection.sendall(part)
    connection.shutdown(socket.SHUT_WR)
    return sent.hexdigest()


def received(connection: socket.socket) -> str:
    """The sum of all up to the end."""
    heard, area = hashlib.sha256(), memoryview(bytearray(MIB))
    while count := connection.recv_into(area):
        heard.update(area[:count])
    return heard.hexdigest()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("framed", [with_length, with_chunks])
@pytest.mark.parametrize("is_upload", [False, True])
async def test_a_body_of_any_size_has_the_same_sum(
    sshd: OpenSSHServer, framed: Callable[[bytes], Iterator[bytes]], is_upload: bool
) -> None:
    """TUNNELCTL_BODY_MIB=1024 for bodies of 1 GiB."""

    def asked() -> Iterable[bytes]:
        return framed(b"PUT /p HTTP/1.1\r\nHost: h\r\n") if is_upload else [GET]

    def answered() -> Iterable[bytes]:
        return [OK] if is_upload else framed(b"HTTP/1.1 200 OK\r\n")

    served: Queue[tuple[str, str]] = Queue()

    def serve(connection: socket.socket) -> None:
        served.put((received(connection), send(connection, answered())))

    def ask(port: int) -> tuple[str, str]:
        with connect(port) as connection:
            return send(connection, asked()), received(connection)

    async with inspected() as inspection, tunnel_to(sshd.host()) as tunnel:
        with Service(serve) as service:
            plain = await tunnel.local(service.port)
            assert await in_thread(ask, plain) == await in_thread(served.get, timeout=600)
            port = await listen(tunnel, Side.HERE, service.port, inspection)
            assert await in_thread(ask, port) == await in_thread(served.get, timeout=600)
        await eventually_async(lambda: is_parsed(inspection), "everything is parsed")
        if not inspection.summary()["not_inspected"]["connections"]:  # the parser kept up
            (exchange,) = inspection.last()
            message = exchange.request if is_upload else exchange.response
            assert message is not None
            assert (message.size, message.is_cut) == (BODY_MIB * MIB, False)


async def test_ten_thousand_requests_pass_and_the_last_are_kept(sshd: OpenSSHServer) -> None:
    talk = [(CLIENT, GET * 100), (SERVER, OK * 100)] * 100
    async with inspected() as inspection, tunnel_to(sshd.host()) as tunnel:
        await carry(tunnel, Side.HERE, talk, inspection)
        await eventually_async(lambda: is_parsed(inspection), "everything is parsed")
        found = inspection.last()
        assert len(found) == EXCHANGES_MAX
        assert all(one.status == 200 and one.has_ended for one in found)
        assert inspection.summary()["dropped"] == 10_000 - EXCHANGES_MAX


async def test_what_does_not_fit_is_counted_and_passes(sshd: OpenSSHServer) -> None:
    body = random.Random(1).randbytes(8 * MIB)
    talk: Sequence[tuple[str, bytes]] = [
        (CLIENT, GET),
        (SERVER, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body, 3)),
    ]
    async with inspected(room=MIB // 16) as inspection, tunnel_to(sshd.host()) as tunnel:
        await carry(tunnel, Side.HERE, talk, inspection)
        await eventually_async(lambda: is_parsed(inspection), "everything is parsed")
        counts = inspection.summary()["not_inspected"]
        assert counts["reasons"]["overload"] == counts["connections"] == 1
        assert counts["bytes"] > 4 * MIB
        await carry(tunnel, Side.HERE, [(CLIENT, GET), (SERVER, OK)], inspection)
        await eventually_async(lambda: is_parsed(inspection), "everything is parsed")
        assert inspection.last()[-1].status == 200


async def test_a_tap_that_fails_is_no_fault_of_the_connection(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        """The rest of a body, when there is no memory."""

        def skim(self, view: memoryview) -> int:
            raise MemoryError

    async with inspected() as inspection, tunnel_to(sshd.host()) as tunnel:
        make_tap = inspection.tap

        def tap_that_fails(*args: str, client_is_socket: bool) -> ConnectionTap:
            tap = make_tap(*args, client_is_socket=client_is_socket)
            (tapped,) = inspection.live
            tapped.from_client.offer = (0, cast(Chunked, Failing()))
            return tap

        monkeypatch.setattr(inspection, "tap", tap_that_fails)
        await carry(tunnel, Side.HERE, [(CLIENT, GET), (SERVER, OK)], inspection)
        assert inspection.summary()["not_inspected"]["connections"] == 1
