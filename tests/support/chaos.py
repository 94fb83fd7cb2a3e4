"""A TCP proxy that misbehaves on request: delay, rate, silence, slices, resets, wrong bytes, ends.

Runs an event loop in a thread of its own, so that both blocking and asyncio tests can use it.
Every knob may be turned while connections run. Half-close passes through unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterable
from enum import StrEnum
from types import TracebackType
from typing import Self

from tests.support.ports import free_port

_CHUNK = 65_536
_IN_FLIGHT = 128  # chunks held back by latency before the sender is held back as well
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


class Direction(StrEnum):
    """UP: from the client to the target. DOWN: the way back."""

    UP = "up"
    DOWN = "down"


BOTH = (Direction.UP, Direction.DOWN)


class _Way:
    """The knobs and the count of one direction; touched by the proxy's loop only."""

    def __init__(self) -> None:
        self.latency = 0.0  # seconds
        self.jitter = 0.0  # seconds, either way of the latency
        self.rate: float | None = None  # bytes a second
        self.slice: int | None = None  # bytes a send
        self.flip: int | None = None  # offset in the stream of the byte to corrupt, once
        self.left: int | None = None  # bytes until a connection is cut, once
        self.flows = asyncio.Event()
        self.flows.set()
        self.bytes = 0


class _Pipe:
    """One direction of one connection."""

    def __init__(self, way: _Way, source: socket.socket, sink: socket.socket) -> None:
        self._way = way
        self._source = source
        self._sink = sink
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT)
        self._seen = 0
        self._free_at: float | None = None  # when the rate lets more pass; None after a pause
        self._severed = False
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Carry bytes until the end of the stream has been passed on; OSError when cut."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read())
            tasks.create_task(self._write())

    def sever(self) -> None:
        """From now on pass nothing on: neither bytes nor the end, of which nobody hears."""
        self._severed = True

    def finish(self) -> None:
        """End the stream for the sink, in order, though the source goes on."""
        if not self._severed:
            self._severed = True
            with contextlib.suppress(OSError):  # it has ended meanwhile
                self._sink.shutdown(socket.SHUT_WR)

    async def _receive(self) -> bytes:
        try:
            return await self._loop.sock_recv(self._source, _CHUNK)
        except OSError:
            if self._severed:
                return b""
            raise

    async def _read(self) -> None:
        due = 0.0
        while True:
            data = await self._receive()
            delay = self._way.latency + random.uniform(-1, 1) * self._way.jitter
            due = max(due, self._loop.time() + max(delay, 0.0))  # never overtakes
            await self._queue.put((due, data))
            if not data:
                return

    async def _write(self) -> None:
        while True:
            if self._queue.empty():
                self._free_at = None
            due, data = await self._queue.get()
            await asyncio.sleep(due - self._loop.time())
            await self._way.flows.wait()
            if not data:
                if not self._severed:
                    self._sink.shutdown(socket.SHUT_WR)
                return
            await self._send(self._corrupted(data))

    def _corrupted(self, data: bytes) -> bytes:
        start, self._seen = self._seen, self._seen + len(data)
        offset = self._way.flip
        if offset is None or not start <= offset < self._seen:
            return data
        self._way.flip = None
        changed = bytearray(data)
        changed[offset - start] ^= 0x01
        return bytes(changed)

    async def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            await self._way.flows.wait()
            if self._severed:
                return
            size = self._way.slice or len(rest)
            if self._way.left is not None:
                size = min(size, self._way.left)
            if self._way.rate:
                # At most a tenth of a second's worth at once.
                size = min(size, max(1, int(self._way.rate / 10)))
            await self._loop.sock_sendall(self._sink, rest[:size])
            size = min(size, len(rest))
            self._way.bytes += size
            self._count(size)
            if self._way.rate:
                # A loop that is late is not late for ever: the rate is kept on the whole.
                self._free_at = (self._free_at or self._loop.time()) + size / self._way.rate
                await asyncio.sleep(self._free_at - self._loop.time())
            rest = rest[size:]

    def _count(self, size: int) -> None:
        if self._way.left is None:
            return
        self._way.left -= size
        if not self._way.left:
            self._way.left = None
            raise ConnectionResetError("as many bytes as were allowed")


class ChaosProxy:
    """Listens on `host`:`port` and passes connections on to a target; a context manager.

    `target_port` may be changed at any time, for new connections.
    """

    def __init__(
        self, target_port: int, target_host: str = "127.0.0.1", host: str = "127.0.0.1"
    ) -> None:
        self.host = host
        self.target_host = target_host
        self.target_port = target_port
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy")
        self._connections: set[asyncio.Task[None]] = set()
        self._pipes: set[tuple[Direction, _Pipe]] = set()
        self._acceptor: asyncio.Task[None] | None = None
        self._ways = {direction: _Way() for direction in BOTH}

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # Knobs

    def delay(self, seconds: float, jitter: float = 0.0) -> None:
        """Delay what arrives from now on by `seconds` ± `jitter`, in each direction."""

        def turn(way: _Way) -> None:
            way.latency, way.jitter = seconds, jitter

        self._turn(BOTH, turn)

    def limit(self, bytes_per_second: float | None, *directions: Direction) -> None:
        """Pass no more than that, each connection and direction for itself; None: no limit."""

        def turn(way: _Way) -> None:
            way.rate = bytes_per_second

        self._turn(directions or BOTH, turn)

    def cut_up(self, size: int | None, *directions: Direction) -> None:
        """Send at most `size` bytes at a time; None: as they come."""

        def turn(way: _Way) -> None:
            way.slice = size

        self._turn(directions or BOTH, turn)

    def flip(self, offset: int, direction: Direction) -> None:
        """Corrupt one bit of the byte at `offset`, in the first stream that gets there."""

        def turn(way: _Way) -> None:
            way.flip = offset

        self._turn((direction,), turn)

    def waits(self, direction: Direction) -> bool:
        """Whether the byte of the last `flip` or `cut_after` has not come yet."""
        way = self._ways[direction]
        return way.flip is not None or way.left is not None

    def cut_after(self, count: int, direction: Direction) -> None:
        """Reset the connection that takes the next `count` (not 0) bytes to their end."""

        def turn(way: _Way) -> None:
            way.left = count

        self._turn((direction,), turn)

    def strand(self) -> None:
        """Forget the connections that there are, as a router does: they stay open on both sides,
        and nothing passes any more, not even their end. New ones are welcome."""
        self._each(BOTH, _Pipe.sever)

    def half_close(self, direction: Direction) -> None:
        """FIN in one direction of the connections that there are; the other one goes on."""
        self._each((direction,), _Pipe.finish)

    def stall(self, *directions: Direction) -> None:
        """Silence: connections stay open (and are accepted), not a byte passes."""
        self._turn(directions or BOTH, lambda way: way.flows.clear())

    def flow(self, *directions: Direction) -> None:
        """End of the silence; what was held back is delivered."""
        self._turn(directions or BOTH, lambda way: way.flows.set())

    def reset(self) -> None:
        """RST to both ends of every connection; new ones are welcome."""
        self._run(self._reset())

    def down(self) -> None:
        """Reset every connection and refuse new ones."""
        self._run(self._down())

    def up(self) -> None:
        """Accept connections again, on the same port."""
        self._run(self._up())

    def bytes(self, direction: Direction) -> int:
        """How many bytes were passed on in that direction, over all connections."""
        return self._ways[direction].bytes

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

    # The loop's side

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _turn(self, directions: Iterable[Direction], change: Callable[[_Way], object]) -> None:
        async def turn() -> None:
            for direction in directions:
                change(self._ways[direction])

        self._run(turn())

    def _each(self, directions: Iterable[Direction], change: Callable[[_Pipe], object]) -> None:
        async def turn() -> None:
            for direction, pipe in self._pipes:
                if direction in directions:
                    change(pipe)

        self._run(turn())

    async def _up(self) -> None:
        if self._acceptor is None:
            listener = socket.create_server((self.host, self.port), backlog=512)
            listener.setblocking(False)
            self._acceptor = self._loop.create_task(self._accept(listener))

    async def _down(self) -> None:
        if self._acceptor is not None:
            self._acceptor.cancel()
            await asyncio.wait([self._acceptor])
            self._acceptor = None
        await self._reset()

    async def _reset(self) -> None:
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                client, _ = await self._loop.sock_accept(listener)
                task = self._loop.create_task(self._carry(client))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)

    async def _carry(self, client: socket.socket) -> None:
        target = socket.socket()
        target.setblocking(False)
        pipes = {
            (Direction.UP, _Pipe(self._ways[Direction.UP], client, target)),
            (Direction.DOWN, _Pipe(self._ways[Direction.DOWN], target, client)),
        }
        try:
            await self._loop.sock_connect(target, (self.target_host, self.target_port))
            for end in (client, target):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pipes |= pipes
            async with asyncio.TaskGroup() as tasks:
                for _, pipe in pipes:
                    tasks.create_task(pipe.run())
        except BaseException as error:
            # Cut by an end or by us: both ends see a reset, as from a router that lost its mind.
            for end in (client, target):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            if not isinstance(error, OSError | ExceptionGroup):
                raise
        finally:
            self._pipes -= pipes
            client.close()
            target.close()
