"""Small TCP services on 127.0.0.1, each connection in a thread, closed cleanly with the test.

Also the bytes that travel: `Stream` makes any amount of bytes that are cheap to make, differ at
every offset, and have a known checksum.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tunnelctl.closeable import Closeable

CHUNK = 65_536
DEADLINE = 60.0  # seconds; a socket of a test that is silent for longer has failed
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.close()


class Stream:
    """`size` pseudo-random bytes that follow from `seed`, without ever holding them all.

    The chunks are windows into one random pool at offsets that follow from the seed, so a lost,
    doubled, moved or foreign chunk changes the checksum.
    """

    _pool = random.Random(4254).randbytes(8 * 1024 * 1024)

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self.seed = seed

    def chunks(self) -> Iterator[memoryview]:
        """The bytes, in pieces of at most `CHUNK`."""
        view = memoryview(self._pool)
        offsets = random.Random(self.seed)
        left = self.size
        while left:
            start = offsets.randrange(len(view) - CHUNK)
            piece = view[start : start + min(CHUNK, left)]
            left -= len(piece)
            yield piece

    def send(self, connection: socket.socket) -> str:
        """Send all of it; the sha256 of what was sent."""
        digest = hashlib.sha256()
        for piece in self.chunks():
            connection.sendall(piece)
            digest.update(piece)
        return digest.hexdigest()

    @property
    def sha256(self) -> str:
        """The checksum of the whole."""
        digest = hashlib.sha256()
        for piece in self.chunks():
            digest.update(piece)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Received:
    """The bytes of a connection, and how it ended: `fin`, or `reset` when it was cut."""

    size: int
    sha256: str
    end: str


def receive(connection: socket.socket) -> Received:
    """Read to the end of the stream, whichever end it has.

    Raises:
        TimeoutError: silence for longer than the socket's timeout.
    """
    digest = hashlib.sha256()
    size = 0
    buffer = memoryview(bytearray(4 * CHUNK))
    while True:
        try:
            count = connection.recv_into(buffer)
        except (ConnectionResetError, BrokenPipeError):
            return Received(size, digest.hexdigest(), "reset")
        if not count:
            return Received(size, digest.hexdigest(), "fin")
        size += count
        digest.update(buffer[:count])


def connect(port: int, seconds: float = DEADLINE, address: str = "127.0.0.1") -> socket.socket:
    """A client's connection to `address`:`port`; each operation may take `seconds`."""
    connection = socket.create_connection((address, port), timeout=seconds)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:  # it was reset meanwhile
        connection.close()
        raise
    return connection


class Service(Closeable):
    """Listens on `host`:`port` and runs `serve(connection)` for each client in a thread.

    The connection is closed after `serve` returns. What `serve` raises, other than a connection
    that was cut, is raised again by `close`. A context manager.
    """

    def __init__(
        self, serve: Callable[[socket.socket], None], port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        self._serve = serve
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._errors: list[BaseException] = []
        self._closing = False
        self._acceptor = threading.Thread(target=self._accept, name=f"service-{self.port}")
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(DEADLINE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._run, args=(connection,), name="service")
            with self._lock:
                if self._closing:
                    connection.close()
                    return
                self.accepted += 1
                self._open[thread] = connection
                thread.start()

    def _run(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._serve(connection)
        except (ConnectionError, OSError) as error:
            if isinstance(error, TimeoutError) and not self._closing:
                self._errors.append(error)
        except BaseException as error:
            self._errors.append(error)
        finally:
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def cut(self) -> None:
        """Shut every open connection, so that its thread ends."""
        with self._lock:
            for connection in self._open.values():
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def open(self) -> int:
        """How many connections are being served."""
        with self._lock:
            return len(self._open)

    def close(self) -> None:
        """Stop, end every connection, wait for the threads; then raise what `serve` raised."""
        with self._lock:
            self._closing = True
            threads = list(self._open)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._acceptor.join()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


class EchoService(Service):
    """Sends back what it gets, as it comes; a FIN is answered with a FIN."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__(self._echo, port, host)

    @staticmethod
    def _echo(connection: socket.socket) -> None:
        while data := connection.recv(CHUNK):
            connection.sendall(data)


class SinkService(Service):
    """Reads each connection to its end; `received` gets one `Received` for each."""

    def __init__(self, port: int = 0) -> None:
        self._received: queue.SimpleQueue[Received] = queue.SimpleQueue()
        super().__init__(self._sink, port)

    def _sink(self, connection: socket.socket) -> None:
        self._received.put(receive(connection))

    def received(self, seconds: float = DEADLINE) -> Received:
        """The next connection that ended; waits for one."""
        return self._received.get(timeout=seconds)


class SourceService(Service):
    """Sends the stream to each client, then FIN."""

    def __init__(self, stream: Stream, port: int = 0) -> None:
        self._stream = stream
        super().__init__(self._source, port)

    def _source(self, connection: socket.socket) -> None:
        self._stream.send(connection)


class ReplyAfterEndService(Service):
    """Says nothing until the client's FIN; then sends `reply(all that it got)`, then FIN."""

    def __init__(self, reply: Callable[[bytes], bytes], port: int = 0) -> None:
        self._reply = reply
        super().__init__(self._answer, port)

    def _answer(self, connection: socket.socket) -> None:
        asked = bytearray()
        while data := connection.recv(CHUNK):
            asked += data
        connection.sendall(self._reply(bytes(asked)))


class ResetService(Service):
    """Reads `after` bytes of each connection, then resets it."""

    def __init__(self, after: int = 0, port: int = 0) -> None:
        self._after = after
        super().__init__(self._reset, port)

    def _reset(self, connection: socket.socket) -> None:
        left = self._after
        while left > 0 and (data := connection.recv(min(left, CHUNK))):
            left -= len(data)
        reset(connection)


class SpeakFirstService(Service):
    """Sends a greeting, closes its own direction at once, and reads on to the client's end."""

    def __init__(self, greeting: bytes, port: int = 0) -> None:
        self._greeting = greeting
        self._received: queue.SimpleQueue[Received] = queue.SimpleQueue()
        super().__init__(self._speak, port)

    def _speak(self, connection: socket.socket) -> None:
        connection.sendall(self._greeting)
        connection.shutdown(socket.SHUT_WR)
        self._received.put(receive(connection))

    def received(self, seconds: float = DEADLINE) -> Received:
        """The next connection that ended; waits for one."""
        return self._received.get(timeout=seconds)
