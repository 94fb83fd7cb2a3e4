"""`python -m benchmarks.inspector`: what `inspect: http` costs a forward.

One daemon, from a wheel in which the data path is compiled, has two forwards to one web service:
`web` is inspected, `plain` is not. Each figure is measured on both in turn, and the ratio or
difference of each pair is what is reported, with its median. The service and the load are processes
of their own. The last columns are the daemon's processor time, as a multiple of that without
inspection: while the load ran, and until the parser had ended too. They say more than rates where
other programs run.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from benchmarks.peers.tunnelctl import compiled_python
from benchmarks.processes import cpu_seconds, resident_memory
from tests.support.sshd import OpenSSHServer
from tests.support.world import World, private_world, tunnel_text
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths

_MIB = 1 << 20
_BLOCK = bytes(256 * 1024)
_CHUNK = b"10000\r\n" + bytes(65536) + b"\r\n"
_SMALL = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!"
_TIME = struct.Struct("!d")
_EVENTS_A_SECOND = 100
_IDLE_FOR, _IDLE_SHARE = 0.2, 0.05  # seconds; share of a core
T = TypeVar("T")
_REQUEST = b"GET %b HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"


# The service.


def serve(ready: Connection) -> None:
    """Serve until the process is ended; reports the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    ready.send(listener.getsockname()[1])
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_client, args=(client,), daemon=True).start()


def _client(client: socket.socket) -> None:
    with client, contextlib.suppress(OSError, EOFError):
        while True:
            head, rest = _head(client)
            _, path, _ = head.split(b" ", 2)
            kind, _, number = path[1:].partition(b"/")
            _ANSWERS[kind](client, int(number or 0), len(rest))


def _length(client: socket.socket, size: int, came: int) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(size // len(_BLOCK)):
        client.sendall(_BLOCK)


def _chunked(client: socket.socket, size: int, came: int) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(size // 65536):
        client.sendall(_CHUNK)
    client.sendall(b"0\r\n\r\n")


def _upload(client: socket.socket, size: int, came: int) -> None:
    _receive(client, size - came)
    client.sendall(_SMALL)


def _exchange(client: socket.socket, size: int, came: int) -> None:
    _receive(client, size - came)
    _length(client, size, 0)


def _small(client: socket.socket, size: int, came: int) -> None:
    client.sendall(_SMALL)


def _events(client: socket.socket, count: int, came: int) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for _ in range(count):
        time.sleep(1 / _EVENTS_A_SECOND)
        client.sendall(_TIME.pack(time.monotonic()) + b"data: 123456789\n\n")


_ANSWERS: dict[bytes, Callable[[socket.socket, int, int], None]] = {
    b"length": _length,
    b"chunked": _chunked,
    b"upload": _upload,
    b"small": _small,
    b"events": _events,
    b"exchange": _exchange,
}
_EVENT_SIZE = _TIME.size + len(b"data: 123456789\n\n")


# The load.


def transfer(port: int, kind: str, size: int) -> float:
    """MB/s of one body."""
    with _connect(port) as sock:
        began = time.perf_counter()
        path = f"/{kind}/{size}".encode()
        if kind == "upload":
            head = b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % (path, size)
            sock.sendall(head)
            for _ in range(size // len(_BLOCK)):
                sock.sendall(_BLOCK)
            _head(sock)
        else:
            sock.sendall(_REQUEST % path)
            _, rest = _head(sock)
            whole = size if kind == "length" else size // 65536 * len(_CHUNK) + len(b"0\r\n\r\n")
            _receive(sock, whole - len(rest))
        return size / (time.perf_counter() - began) / 1e6


def requests(port: int, count: int, clients: int) -> float:
    """Requests a second by so many clients, each of which waits for its answers."""

    def client() -> None:
        with _connect(port) as sock:
            for _ in range(count // clients):
                sock.sendall(_REQUEST % b"/small")
                _receive(sock, len(_SMALL))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - began)


def events(port: int, count: int) -> tuple[float, float]:
    """Milliseconds from the service to the client: the median event, and the 99th of 100."""
    with _connect(port) as sock:
        sock.sendall(_REQUEST % f"/events/{count}".encode())
        _, rest = _head(sock)
        delays = []
        for _ in range(count):
            event = rest + _receive_exactly(sock, _EVENT_SIZE - len(rest))
            rest = b""
            (sent,) = _TIME.unpack(event[: _TIME.size])
            delays.append(1000 * (time.monotonic() - sent))
        return statistics.median(delays), statistics.quantiles(delays, n=100)[98]


def fill(port: int, count: int) -> None:
    """So many requests whose bodies, each way, are longer than what is kept of them."""
    size = 2 * len(_BLOCK)
    with _connect(port) as sock:
        for _ in range(count):
            head = b"POST /exchange/%d HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n"
            sock.sendall(head % (size, size) + _BLOCK * 2)
            _, rest = _head(sock)
            _receive(sock, size - len(rest))


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=120)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _head(sock: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise EOFError
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _receive(sock: socket.socket, size: int) -> None:
    area = bytearray(_MIB)
    while size > 0:
        count = sock.recv_into(area, min(size, len(area)))
        if not count:
            raise EOFError
        size -= count


def _receive_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


# The comparison.


class _Compared:
    """Runs a load on both forwards in turn."""

    def __init__(
        self, load: ProcessPoolExecutor, ports: tuple[int, int], daemon: int, rounds: int
    ) -> None:
        self._load = load
        self._plain, self._web = ports
        self._daemon = daemon
        self._rounds = rounds

    def rates(self, title: str, work: Callable[..., float], *arguments: object) -> None:
        """Print both rates, their ratio, and how much more processor time the daemon needed."""
        pairs = []
        for turn in range(self._rounds):
            ports = (self._plain, self._web) if turn % 2 else (self._web, self._plain)
            measured = {port: self._rate(port, work, *arguments) for port in ports}
            pairs.append((measured[self._plain], measured[self._web]))
        plain, web = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
        ratio = statistics.median(web[0] / plain[0] for plain, web in pairs)
        during, later = (
            statistics.median(web[place] / plain[1] for plain, web in pairs) for place in (1, 2)
        )
        row = f"| {title} | {plain:,.0f} | {web:,.0f} | {ratio:.1%} | {during:.2f} | {later:.2f} |"
        print(row, flush=True)

    def _rate(
        self, port: int, work: Callable[..., float], *arguments: object
    ) -> tuple[float, float, float]:
        """The rate, and the seconds of processor time until the load and the parser had ended."""
        began = self._settled()
        rate = self._run(work, port, *arguments)
        during = cpu_seconds([self._daemon]) - began
        return rate, during, self._settled() - began

    def _settled(self) -> float:
        """Wait until the daemon is idle; returns its processor time."""
        before = cpu_seconds([self._daemon])
        while True:
            time.sleep(_IDLE_FOR)
            now = cpu_seconds([self._daemon])
            if now - before < _IDLE_FOR * _IDLE_SHARE:
                return now
            before = now

    def delays(self, title: str, count: int) -> None:
        """Print both delays, and how much later the inspected ones are."""
        pairs = []
        for _ in range(self._rounds):
            plain = self._run(events, self._plain, count)
            pairs.append((plain, self._run(events, self._web, count)))
        for place, name in enumerate(("median", "99 of 100")):
            both = [statistics.median(pair[side][place] for pair in pairs) for side in (0, 1)]
            later = statistics.median(web[place] - plain[place] for plain, web in pairs)
            row = f"| {title}, {name} | {both[0]:.2f} | {both[1]:.2f} | {later:+.2f} | | |"
            print(row, flush=True)

    def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return self._load.submit(work, *arguments).result(300)


@contextmanager
def _service() -> Iterator[int]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,))
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


@contextmanager
def _tunnel(port: int, python: str) -> Iterator[tuple[World, tuple[int, int]]]:
    with (
        tempfile.TemporaryDirectory(prefix="tctl-bench-") as folder,
        private_world(python) as world,
    ):
        server = OpenSSHServer(Path(folder) / "sshd", config=["LogLevel INFO"])
        server.start()
        try:
            world.unwatch()
            text = tunnel_text(
                server.host_yaml(),
                plain=f"local: 0, to: {port}",
                web=f"local: 0, to: {port}, inspect: http",
            )
            world.profile("bench", text)
            world.ok("up", "bench", "-d")
            found = [world.forward("bench", name)["listen"] for name in ("plain", "web")]
            plain, web = (int(listen.rpartition(":")[2]) for listen in found)
            yield world, (plain, web)
        finally:
            server.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inspector", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024, help="size of a body")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--fill", type=int, default=2000, help="requests with long bodies")
    parser.add_argument("--pure", action="store_true", help="without compiled modules")
    options = parser.parse_args(arguments)
    python = sys.executable if options.pure else compiled_python()
    size, context = options.mib * _MIB, multiprocessing.get_context("spawn")
    with (
        _service() as port,
        _tunnel(port, python) as (world, ports),
        ProcessPoolExecutor(1, context) as load,
    ):
        load.submit(fill, ports[0], options.fill).result(300)  # the buffers of the data path
        before = resident_memory([world.daemon_pid()])
        compared = _Compared(load, ports, world.daemon_pid(), options.rounds)
        print("| | not inspected | inspected | | processor | in all |")
        print("|---|---|---|---|---|---|")
        compared.rates(f"download of {options.mib} MiB, MB/s", transfer, "length", size)
        compared.rates(f"upload of {options.mib} MiB, MB/s", transfer, "upload", size)
        compared.rates("download in chunks of 64 KiB, MB/s", transfer, "chunked", size)
        compared.rates("requests of one client, 1/s", requests, options.requests, 1)
        compared.rates("requests of eight clients, 1/s", requests, options.requests, 8)
        compared.delays("delay of an event, ms", options.events)
        load.submit(fill, ports[1], options.fill).result(300)
        client = Client(Paths.from_environ(world.environ, world.home))
        found = client.requests("bench", "web", 0)
        print(f"\nnot inspected: {dict(found.not_inspected)}; dropped: {found.dropped}")
        grown = (resident_memory([world.daemon_pid()]) - before) / _MIB
        print(f"memory of the daemon, with all that is kept: {grown:+.1f} MiB")


if __name__ == "__main__":
    main()
