"""The parts that a fault may use, and its result: when it began and when it was over.

Must never judge the time of a recovery: `run` does.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random, randbytes

from benchmarks.soak.ledger import Ledger
from benchmarks.soak.scene import Scene
from benchmarks.soak.traffic import Traffic
from benchmarks.soak.watch import Watch
from tests.support.clients import exchange

_LONGEST = 10.0  # seconds that a fault lasts
_SHORTEST = 0.2
_MESSAGE = 1000  # bytes


@dataclass(frozen=True, slots=True)
class Moments:
    """When a fault had begun completely and when it was over; `away`: the server was not
    reachable."""

    begun: float
    over: float
    away: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that a fault may use."""

    scene: Scene
    traffic: Traffic
    watch: Watch
    ledger: Ledger
    chance: Random

    def lasts(self) -> None:
        """Wait while a fault lasts: short ones are more frequent than long ones."""
        self.scene.over.wait(self.duration())

    def duration(self) -> float:
        """Seconds that a fault lasts."""
        return _SHORTEST + (_LONGEST - _SHORTEST) * self.chance.random() ** 2

    def exchange(self, way: str, connection: socket.socket) -> None:
        """A client of the fault itself gets back what it sends."""
        message = randbytes(_MESSAGE)
        if exchange(connection, message) != message:
            self.ledger.foreign(way, f"in {_MESSAGE} bytes")
        self.ledger.exchanged(_MESSAGE)


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault."""

    name: str
    do: Callable[[Stage], Moments]
    own_network: bool = False  # whether it changes the routes of this machine


def during(stage: Stage, begin: Callable[[], object], end: Callable[[], object]) -> Moments:
    """A fault that lasts for a while."""
    begin()
    begun = time.monotonic()
    try:
        stage.lasts()
    finally:
        end()
    return Moments(begun, time.monotonic())


def away(stage: Stage, begin: Callable[[], object], end: Callable[[], object]) -> Moments:
    """The same for a fault during which the server cannot be reached, or refuses logins."""
    moments = during(stage, begin, end)
    return Moments(moments.begun, moments.over, away=True)


def at_once(act: Callable[[], object]) -> Moments:
    """A fault that is over when it has begun."""
    act()
    now = time.monotonic()
    return Moments(now, now)
