"""docs/faults.md, rows 5, 7 and 8: the network between the daemon and the server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import AT_ONCE, BACK, NOTICED, PATIENT, Tunnel, is_reset
from tests.support.chaos import ChaosProxy, Direction
from tests.support.clients import exchange, receive_exactly
from tests.support.services import EchoService, SourceService, Stream, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import BUSY

_RATE = 50_000  # bytes a second
# A machine that halts for a second or two makes no slow link a dead one.
_INTERVAL, _COUNT = 2.0, 2
_LONG = _INTERVAL * (_COUNT + 1) + 2.0  # seconds: who were silent so long would be given up
_WATCHFUL = {"server_alive_interval": f"{_INTERVAL}s", "server_alive_count_max": str(_COUNT)}


@pytest.fixture
def proxy(sshd: OpenSSHServer) -> Iterator[ChaosProxy]:
    """A bad network between the daemon and the server."""
    with ChaosProxy(sshd.port) as chaos:
        yield chaos


def up(tunnel: Tunnel, sshd: OpenSSHServer, proxy: ChaosProxy, target: int, **keys: str) -> None:
    tunnel.up(
        sshd,
        f"127.0.0.1:{target}",
        port=proxy.port,
        host_key_alias=f'"{sshd.pattern}"',
        **keys,
    )


SILENCES: dict[str, tuple[Callable[[ChaosProxy], None], Callable[[ChaosProxy], None]]] = {
    "both ways": (ChaosProxy.stall, ChaosProxy.flow),
    "to the server": (
        lambda proxy: proxy.stall(Direction.UP),
        lambda proxy: proxy.flow(Direction.UP),
    ),
    "from the server": (
        lambda proxy: proxy.stall(Direction.DOWN),
        lambda proxy: proxy.flow(Direction.DOWN),
    ),
    "of this link alone": (ChaosProxy.strand, lambda proxy: None),
}


@pytest.mark.parametrize("silence", list(SILENCES))
def test_silence_is_noticed_in_time_and_the_port_serves_again(
    tunnel: Tunnel, sshd: OpenSSHServer, proxy: ChaosProxy, silence: str
) -> None:
    begin, end = SILENCES[silence]
    with EchoService() as echo:
        up(tunnel, sshd, proxy, echo.port)
        with tunnel.answering(), tunnel.connection() as client:
            assert exchange(client, b"before") == b"before"
            began = time.monotonic()
            begin(proxy)
            tunnel.is_noticed(NOTICED)
            assert is_reset(client)
            assert time.monotonic() - began < NOTICED
            end(proxy)
            tunnel.is_back(BACK)


@pytest.mark.parametrize(
    "cut",
    [
        ChaosProxy.reset,
        lambda proxy: proxy.half_close(Direction.UP),
        lambda proxy: proxy.half_close(Direction.DOWN),
        lambda proxy: proxy.cut_after(1, Direction.DOWN),
    ],
    ids=["reset", "fin to the server", "fin from the server", "in the middle of a packet"],
)
def test_an_end_of_the_network_is_noticed_at_once(
    tunnel: Tunnel, sshd: OpenSSHServer, proxy: ChaosProxy, cut: Callable[[ChaosProxy], None]
) -> None:
    with EchoService() as echo:
        up(tunnel, sshd, proxy, echo.port, **PATIENT)
        with tunnel.answering(), tunnel.connection() as client:
            assert exchange(client, b"before") == b"before"
            cut(proxy)
            began = time.monotonic()
            assert exchange_is_reset(client)
            assert time.monotonic() - began < AT_ONCE
            tunnel.is_back(BACK)
        assert tunnel.reconnects == 1


def exchange_is_reset(client: socket.socket) -> bool:
    """Whether a client that sends, and waits for an answer, gets a reset."""
    try:
        client.sendall(b"bytes of which the network may take one")
    except ConnectionResetError:
        return True
    return is_reset(client)


def test_a_network_that_refuses_for_a_while(
    tunnel: Tunnel, sshd: OpenSSHServer, proxy: ChaosProxy
) -> None:
    with EchoService() as echo:
        up(tunnel, sshd, proxy, echo.port, **PATIENT)
        with tunnel.answering():
            proxy.down()
            tunnel.is_noticed(AT_ONCE)
            # Who comes meanwhile is held, not refused, and served as soon as may be.
            with tunnel.connection() as held:
                held.sendall(b"held")
                proxy.up()
                assert receive_exactly(held, 4) == b"held"
            tunnel.is_back(BACK)


def test_a_slow_link_is_no_dead_one(tunnel: Tunnel, sshd: OpenSSHServer, proxy: ChaosProxy) -> None:
    """Half a second each way, give or take, and a stall now and then."""
    with EchoService() as echo:
        up(tunnel, sshd, proxy, echo.port, **_WATCHFUL)
        with tunnel.answering(), tunnel.connection() as client, stalling(proxy):
            proxy.delay(0.5, jitter=0.2)
            until = time.monotonic() + _LONG
            while time.monotonic() < until:
                assert exchange(client, b"slow") == b"slow"
        assert tunnel.reconnects == 0


@contextmanager
def stalling(proxy: ChaosProxy) -> Iterator[None]:
    """Nothing passes for 30 ms of every 3 s: one percent."""
    over = threading.Event()

    def stall() -> None:
        while not over.wait(2.97):
            proxy.stall()
            over.wait(0.03)
            proxy.flow()

    thread = threading.Thread(target=stall, name="stalling")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("direction", list(Direction))
def test_a_narrow_link_is_full_and_no_dead_one(
    tunnel: Tunnel, sshd: OpenSSHServer, proxy: ChaosProxy, direction: Direction
) -> None:
    """What is asked of the server waits behind megabytes that are on their way."""
    with SourceService(Stream(1 << 30)) as source, EchoService() as echo:
        target = source.port if direction is Direction.DOWN else echo.port
        up(tunnel, sshd, proxy, target, **_WATCHFUL)
        with tunnel.answering(), tunnel.connection() as client:
            over = threading.Event()
            busy = threading.Thread(target=keep_busy, args=(client, over), name="busy")
            proxy.limit(_RATE, direction)
            busy.start()
            try:
                began, passed = time.monotonic(), proxy.bytes(direction)
                over.wait(_LONG)
                rate = (proxy.bytes(direction) - passed) / (time.monotonic() - began)
            finally:
                over.set()
                client.shutdown(socket.SHUT_RDWR)
                busy.join()
        assert rate >= 0.9 * _RATE
        assert tunnel.reconnects == 0


def keep_busy(client: socket.socket, over: threading.Event) -> None:
    """Send and read as much as goes, until it is over."""
    client.setblocking(False)
    piece = bytes(65_536)
    while not over.wait(0.01):
        for act in (lambda: client.send(piece), lambda: client.recv(65_536)):
            try:
                act()
            except BlockingIOError:
                continue
            except ConnectionError:
                return


def test_one_byte_at_a_time(tunnel: Tunnel, sshd: OpenSSHServer, proxy: ChaosProxy) -> None:
    with EchoService() as echo:
        up(tunnel, sshd, proxy, echo.port, **PATIENT)
        proxy.cut_up(1)
        with tunnel.answering(), connect(tunnel.port) as client:
            message = bytes(range(256)) * 20
            assert exchange(client, message) == message
        proxy.reset()
        tunnel.is_noticed(AT_ONCE)
        # A handshake in single bytes is one too.
        tunnel.is_back(BACK + BUSY)
