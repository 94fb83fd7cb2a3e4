"""Fewer wake-ups while much comes, nothing that waits for more than comes, and wide sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import sys
from collections.abc import Iterator

import pytest

from tests.support.clients import receive_exactly
from tests.support.services import Service, Stream, connect
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import tunnel_to
from tunnelctl.net import gathering
from tunnelctl.net.gathering import GATHERED, TICK, Gathering, widen
from tunnelctl.net.selector import new_event_loop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is gathered")

MIB = 1024 * 1024
_LATE = 10.0  # seconds


def low_water(sock: socket.socket) -> int:
    """How many bytes wake its reader."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
        with one, other:
            yield one


async def test_much_at_once_is_gathered_until_less_comes(sock: socket.socket) -> None:
    overdue = asyncio.Event()
    reads = Gathering(asyncio.get_running_loop(), sock, overdue.set)
    reads.received(8 * MIB, 100.0)
    assert low_water(sock) == 1  # nobody knows yet how long that took
    reads.received(8 * MIB, 100.02)
    assert low_water(sock) == GATHERED
    async with asyncio.timeout(_LATE):
        await overdue.wait()
    assert low_water(sock) == 1
    reads.received(8 * MIB, 100.04)
    assert low_water(sock) == GATHERED  # and again
    reads.close()


async def test_what_comes_slowly_is_read_as_it_comes(sock: socket.socket) -> None:
    reads = Gathering(asyncio.get_running_loop(), sock, lambda: None)
    for second in range(100):
        reads.received(MIB, float(second))
    assert low_water(sock) == 1
    reads.close()


def test_a_socket_is_widened_and_wakes_as_before(sock: socket.socket) -> None:
    widen(sock)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= MIB
    assert low_water(sock) == 1


async def test_nothing_is_told_after_the_end(sock: socket.socket) -> None:
    told: list[None] = []
    reads = Gathering(asyncio.get_running_loop(), sock, lambda: told.append(None))
    reads.received(8 * MIB, 100.0)
    reads.received(8 * MIB, 100.0)
    reads.close()
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(10 * TICK, later.set)
    await later.wait()
    assert told == []


def test_the_last_bytes_of_every_burst_come_though_nothing_follows(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Here every read is one of much, on a machine of any speed.
    monkeypatch.setattr(gathering, "_ENOUGH", 1)
    monkeypatch.setattr(gathering, "_WITHIN", 3600.0)
    bursts = [Stream(size, seed=size) for size in (1, 1000, 70_001, MIB + 12_345, 5 * MIB + 1)] * 4

    def burst_when_asked(connection: socket.socket) -> None:
        for burst in bursts:
            if not connection.recv(1):
                return
            burst.send(connection)

    def ask_for_bursts(port: int) -> None:
        with connect(port, _LATE) as connection:
            for burst in bursts:
                connection.sendall(b"?")
                came = receive_exactly(connection, burst.size)
                assert hashlib.sha256(came).hexdigest() == burst.sha256

    async def work() -> None:
        with Service(burst_when_asked) as service:
            async with tunnel_to(sshd.host()) as tunnel:
                await in_thread(ask_for_bursts, await tunnel.local(service.port))

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work())
