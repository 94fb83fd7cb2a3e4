"""Clients that connect and disconnect, and compare every byte they receive with those they sent.

A client has at most one exchange under way, so a slow network holds few of their bytes.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from benchmarks.soak.ledger import Ledger
from benchmarks.soak.scene import Scene
from tests.support.clients import exchange
from tests.support.services import connect, reset
from tests.support.socks import ask5
from tests.support.waiting import eventually

_CLIENTS = 3  # of each way
_LARGEST = 65_536  # bytes of one exchange
_LONGEST = 60  # exchanges of one connection
_PAUSE = 0.1  # seconds at most between two exchanges
# Seconds in addition to the silence that a peer may take: faults, a client that is held.
_PATIENCE = 45.0
_REMOTE_PATIENCE = 20.0  # a client of the server's listener, which may wait for a lost link
_RETRY = 0.05
_PING = 0.1
_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Way:
    """How a client connects to the target."""

    name: str
    open: Callable[[], socket.socket]


class Traffic:
    """The clients, and for each way one more that only tests whether it works."""

    def __init__(self, scene: Scene, ledger: Ledger, seed: int) -> None:
        self._scene = scene
        self._ledger = ledger
        self._patience = scene.settings.noticed + _PATIENCE
        self._allowed = threading.Event()
        self._allowed.set()
        self._busy: set[threading.Thread] = set()
        self.pings: dict[str, list[tuple[float, float]]] = {}
        self.ways = self._make_ways()
        self._threads = [
            threading.Thread(
                target=self._live,
                args=(way, random.Random(seed * 1000 + number * 10 + index)),
                name=f"client-{way.name}",
            )
            for index, way in enumerate(self.ways)
            for number in range(_CLIENTS)
        ]
        for way in self.ways:
            self.pings[way.name] = []
            self._threads.append(
                threading.Thread(target=self._ping, args=(way,), name=f"ping-{way.name}")
            )

    def _make_ways(self) -> list[Way]:
        ports = self._scene.ports
        return [
            Way("local", lambda: connect(ports.local, self._patience)),
            Way("dynamic", self._open_socks),
            Way("remote", lambda: connect(ports.remote, _REMOTE_PATIENCE)),
        ]

    def _open_socks(self) -> socket.socket:
        asked = ask5(self._scene.ports.dynamic, "127.0.0.1", self._scene.target)
        if asked.code != 0:
            asked.connection.close()
            raise ConnectionRefusedError(f"SOCKS code {asked.code}")
        asked.connection.settimeout(self._patience)
        return asked.connection

    def start(self) -> None:
        """Start the clients."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until the last client has ended, after the scene is over."""
        self._allowed.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Nobody is connected while the block runs."""
        self._allowed.clear()
        try:
            try:
                eventually(lambda: not self._busy, "every client has left", self._patience + 20)
            except AssertionError as error:
                self._ledger.violate(str(error))
            yield
        finally:
            self._allowed.set()

    def passed(self, way: str, begun: float, ended: float) -> float | None:
        """When the first client was served that connected after `begun`, at or after `ended`."""
        found = None
        for came, served in reversed(self.pings[way]):
            if came < begun:
                break
            if served >= ended:
                found = served
        return found

    def longest_gap(self, way: str, begun: float, until: float) -> float:
        """The longest time until `until` in which no client was served that connected after
        `begun`."""
        served = [done for came, done in self.pings[way] if came >= begun and done <= until]
        moments = [begun, *served]
        return max((b - a for a, b in pairwise(moments)), default=0.0)

    def last_served(self) -> float:
        """When a client was last served through the local forward; 0.0 if none was."""
        pings = self.pings["local"]
        return pings[-1][1] if pings else 0.0

    def storm(self, count: int, chance: random.Random) -> None:
        """Many clients at the same time: half of them exchange data, the others disconnect with a
        reset."""
        with ExitStack() as crowd:
            for _ in range(count):
                try:
                    client = crowd.enter_context(connect(self._scene.ports.local, self._patience))
                except ConnectionError:
                    self._ledger.was_cut()
                    continue
                self._ledger.opened()
                if chance.random() < 0.5:
                    reset(client)
                else:
                    self._guarded("storm", partial(self._exchange, "storm", client, 1000))

    # The clients.

    def _loop(self, once: Callable[[], None], pause: Callable[[], float]) -> None:
        over = self._scene.over
        me = threading.current_thread()
        while not over.is_set():
            if not self._allowed.wait(0.5):
                continue
            self._busy.add(me)
            try:
                once()
            finally:
                self._busy.discard(me)
            over.wait(pause())

    def _live(self, way: Way, chance: random.Random) -> None:
        self._loop(
            lambda: self._guarded(way.name, lambda: self._visit(way, chance)),
            lambda: chance.uniform(0, _PAUSE),
        )

    def _ping(self, way: Way) -> None:
        def ping() -> None:
            came = time.monotonic()
            with way.open() as connection:
                self._ledger.opened()
                self._exchange(way.name, connection, _TOKEN)
                self.pings[way.name].append((came, time.monotonic()))

        self._loop(lambda: self._guarded(way.name, ping), lambda: _PING)

    def _guarded(self, way: str, act: Callable[[], None]) -> None:
        try:
            act()
        except TimeoutError:
            if way == "remote":  # it waits for the server, which still takes the link for alive
                self._ledger.was_cut()
            elif not self._scene.over.is_set():
                self._ledger.violate(f"{way}: a client hung for {self._patience:.0f} s")
        except EOFError as error:
            if way == "remote":  # the server's kernel ends it
                self._ledger.was_cut()
            else:
                self._ledger.violate(f"{way}: a cut connection looked complete: {error}")
        except OSError:
            self._ledger.was_cut()
            self._scene.over.wait(_RETRY)

    def _visit(self, way: Way, chance: random.Random) -> None:
        with way.open() as connection:
            self._ledger.opened()
            for _ in range(chance.randint(1, _LONGEST)):
                self._exchange(way.name, connection, chance.randint(1, _LARGEST))
                if self._scene.over.wait(chance.uniform(0, _PAUSE)) or not self._allowed.is_set():
                    break
            if chance.random() < 0.3:
                reset(connection)
                return
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1):
                self._ledger.foreign(way.name, "after the end")

    def _exchange(self, way: str, connection: socket.socket, size: int) -> None:
        # Nobody else sends these bytes.
        message = random.randbytes(size)
        if exchange(connection, message) != message:
            self._ledger.foreign(way, f"in {size} bytes")
        self._ledger.exchanged(size)
