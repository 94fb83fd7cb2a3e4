"""What a client of a unix socket sees of a stream that was cut: an error, where it said anything.

The kernel has no reset for unix sockets; net/unread.py tells how it is done.
"""

from __future__ import annotations

import random
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.clients import receive_exactly
from tests.support.services import DEADLINE, Service, receive
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import rule, tunnel_to
from tests.support.unix_sockets import connected, echo_at
from tests.support.waiting import eventually_async
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Side

QUESTION = b"GET / HTTP/1.0\r\n\r\n"
ANSWER = b"the first half"


@contextmanager
def half_an_answer(question: bytes) -> Iterator[Service]:
    """A service that answers this question in part, and goes on no more."""
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        assert receive_exactly(connection, len(question)) == question
        connection.sendall(ANSWER)
        over.wait(DEADLINE)

    with Service(serve) as service:
        try:
            yield service
        finally:
            over.set()


@pytest.mark.parametrize("half_closed", [False, True])
async def test_an_answer_that_is_cut_ends_in_an_error(
    sshd: OpenSSHServer, tmp_path: Path, half_closed: bool
) -> None:
    listen = Endpoint(path=str(tmp_path / "listen"))
    with half_an_answer(QUESTION) as service:
        async with tunnel_to(sshd.host()) as tunnel:
            target = Endpoint(LOOPBACK, service.port)
            where = await tunnel.add(rule(Side.HERE, 0, target, listen=listen))
            with connected(where) as client:
                client.sendall(QUESTION)
                if half_closed:
                    client.shutdown(socket.SHUT_WR)
                assert await in_thread(receive_exactly, client, len(ANSWER)) == ANSWER
                sshd.kill_sessions()
                assert (await in_thread(receive, client)).end == "reset"


async def test_a_client_that_said_nothing_sees_the_end_alone(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    """There is no way to tell it; docs/outages.md says so."""
    listen = Endpoint(path=str(tmp_path / "listen"))
    with half_an_answer(b"") as service:
        async with tunnel_to(sshd.host()) as tunnel:
            target = Endpoint(LOOPBACK, service.port)
            where = await tunnel.add(rule(Side.HERE, 0, target, listen=listen))
            with connected(where) as client:
                assert await in_thread(receive_exactly, client, len(ANSWER)) == ANSWER
                sshd.kill_sessions()
                assert (await in_thread(receive, client)).end == "fin"


def talks(client: socket.socket, seed: int) -> None:
    """Pieces of any length, each echoed before the next; then the end, in order."""
    dice = random.Random(seed)
    for _ in range(200):
        size = dice.choice((1, 2, 3, dice.randrange(1, 6_000)))
        piece = dice.randbytes(size)
        client.sendall(piece)
        assert receive_exactly(client, size) == piece
    client.shutdown(socket.SHUT_WR)
    assert receive(client).end == "fin"


async def test_no_byte_is_lost_or_doubled_and_the_end_is_in_order(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    listen = Endpoint(path=str(tmp_path / "listen"))
    with echo_at(tmp_path / "target") as target:
        async with tunnel_to(sshd.host()) as tunnel:
            where = await tunnel.add(rule(Side.HERE, 0, target, listen=listen))
            with connected(where) as client:
                await in_thread(talks, client, 4254)
            counters = tunnel.forward().counters
            await eventually_async(lambda: counters.open == 0, "it is over")


@pytest.mark.parametrize("piece", [100, 2_000, 2_049, 8_000])
async def test_a_client_with_little_room_to_send_goes_on(
    sshd: OpenSSHServer, tmp_path: Path, piece: int
) -> None:
    """What is kept unread must not look to its kernel as if nobody read at all."""
    listen = Endpoint(path=str(tmp_path / "listen"))

    def sends(client: socket.socket) -> None:
        poll = select.poll()
        poll.register(client, select.POLLOUT)
        for _ in range(20):
            assert poll.poll(DEADLINE * 1000), "it may send no more"
            client.sendall(bytes(piece))
            receive_exactly(client, piece)

    with echo_at(tmp_path / "target") as target:
        async with tunnel_to(sshd.host()) as tunnel:
            where = await tunnel.add(rule(Side.HERE, 0, target, listen=listen))
            with connected(where) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 18 * 1024)
                await in_thread(sends, client)
