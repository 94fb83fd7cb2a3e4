"""The faults, each from its beginning to its end, with what time it was when.

A fault leaves everything as it found it, but for the link. Must never judge: `run` waits for the
recovery and measures it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from benchmarks.soak.ledger import Ledger
from benchmarks.soak.scene import PROFILE, Scene
from benchmarks.soak.traffic import Traffic
from benchmarks.soak.watch import Watch
from tests.support.chaos import BOTH, Direction
from tests.support.clients import exchange
from tests.support.services import connect
from tests.support.waiting import eventually

_LONGEST = 10.0  # seconds that anything lasts
_SHORTEST = 0.2
_CROWD = 100
_MET_WITHIN = 60.0  # seconds for the traffic to come to a certain byte
# Nothing protects the version lines and the offers of algorithms, this many bytes each way: a
# server that is of another version now, or has no algorithm for us, is rightly given up.
_BARE = 1_500
_STREAM = 1_000_000  # bytes each way that the life of a link is looked at


@dataclass(frozen=True, slots=True)
class Moments:
    """When a fault had begun in full and when it was over; whether it took the server away."""

    begun: float
    over: float
    away: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """All that a fault may touch."""

    scene: Scene
    traffic: Traffic
    watch: Watch
    ledger: Ledger
    chance: Random

    def lasts(self) -> None:
        """Let a fault last: short ones are more frequent than long ones."""
        self.scene.over.wait(self.duration())

    def duration(self) -> float:
        """Seconds that a fault lasts."""
        return _SHORTEST + (_LONGEST - _SHORTEST) * self.chance.random() ** 2


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of harm."""

    name: str
    do: Callable[[Stage], Moments]


def _during(stage: Stage, begin: Callable[[], object], end: Callable[[], object]) -> Moments:
    begin()
    begun = time.monotonic()
    try:
        stage.lasts()
    finally:
        end()
    return Moments(begun, time.monotonic())


def _away(stage: Stage, begin: Callable[[], object], end: Callable[[], object]) -> Moments:
    moments = _during(stage, begin, end)
    return Moments(moments.begun, moments.over, away=True)


def _at_once(act: Callable[[], object]) -> Moments:
    act()
    now = time.monotonic()
    return Moments(now, now)


# --- the network --------------------------------------------------------------------------------


def _silence(stage: Stage) -> Moments:
    ways = stage.chance.choice([BOTH, (Direction.UP,), (Direction.DOWN,)])
    proxy = stage.scene.proxy
    return _during(stage, lambda: proxy.stall(*ways), lambda: proxy.flow(*ways))


def _slow(stage: Stage) -> Moments:
    proxy = stage.scene.proxy
    return _during(stage, lambda: proxy.delay(0.25, jitter=0.1), lambda: proxy.delay(0))


def _narrow(stage: Stage) -> Moments:
    proxy = stage.scene.proxy
    return _during(stage, lambda: proxy.limit(500_000), lambda: proxy.limit(None))


def _slices(stage: Stage) -> Moments:
    proxy, size = stage.scene.proxy, stage.chance.randint(64, 1500)
    return _during(stage, lambda: proxy.cut_up(size), lambda: proxy.cut_up(None))


def _flipped_byte(stage: Stage) -> Moments:
    """Somewhere in the life of the next link, from the first word that is protected on."""
    proxy, direction = stage.scene.proxy, stage.chance.choice(BOTH)
    offset = round(_BARE * (_STREAM / _BARE) ** stage.chance.random())

    def flip() -> None:
        proxy.flip(offset, direction)
        proxy.reset()  # offsets are counted in each connection
        eventually(lambda: not proxy.waits(direction), "the byte comes", _MET_WITHIN)

    return _at_once(flip)


def _cut_in_the_middle(stage: Stage) -> Moments:
    proxy, direction = stage.scene.proxy, stage.chance.choice(BOTH)

    def cut() -> None:
        proxy.cut_after(stage.chance.randint(1, 100_000), direction)
        eventually(lambda: not proxy.waits(direction), "the byte comes", _MET_WITHIN)

    return _at_once(cut)


def _half_close(stage: Stage) -> Moments:
    return _at_once(lambda: stage.scene.proxy.half_close(stage.chance.choice(BOTH)))


# --- the server ---------------------------------------------------------------------------------


def _server_killed(stage: Stage) -> Moments:
    return _away(stage, stage.scene.server.kill, stage.scene.server.start)


def _server_stopped(stage: Stage) -> Moments:
    return _during(stage, stage.scene.server.pause, stage.scene.server.resume)


# --- ourselves ----------------------------------------------------------------------------------


def _restart(stage: Stage) -> Moments:
    return _at_once(lambda: stage.scene.world.ok("restart", PROFILE))


def _reload(stage: Stage) -> Moments:
    """One forward comes and goes, then a file is wrong: who is connected notices nothing."""
    scene = stage.scene
    with connect(scene.ports.local) as kept:
        try:
            exchange(kept, b"before")
            scene.write_profile(more=True)
            scene.world.ok("reload")
            scene.write_profile(broken=True)
            if scene.world.run("reload").returncode == 0:
                stage.ledger.violate("a broken file was taken")
            exchange(kept, b"between")
        except (OSError, EOFError) as error:
            stage.ledger.violate(f"reload cut a connection of an unchanged forward: {error}")
        finally:
            scene.write_profile()
            scene.world.ok("reload")
    now = time.monotonic()
    return Moments(now, now)


def _daemon_killed(stage: Stage) -> Moments:
    with stage.watch.excused():
        stage.scene.world.kill_daemon()
        begun = time.monotonic()
        stage.scene.up()
    return Moments(begun, time.monotonic())


def _daemon_stopped(stage: Stage) -> Moments:
    pid = stage.watch.pid
    with stage.watch.excused():
        return _during(
            stage, lambda: os.kill(pid, signal.SIGSTOP), lambda: os.kill(pid, signal.SIGCONT)
        )


def _storm(stage: Stage) -> Moments:
    return _at_once(lambda: stage.traffic.storm(_CROWD, stage.chance))


FAULTS = (
    Fault("network: reset", lambda stage: _at_once(stage.scene.proxy.reset)),
    Fault("network: down", lambda s: _away(s, s.scene.proxy.down, s.scene.proxy.up)),
    Fault("network: silence", _silence),
    Fault("network: forgets the link", lambda stage: _at_once(stage.scene.proxy.strand)),
    Fault("network: 250 ms ± 100 more each way", _slow),
    Fault("network: 500 kB/s", _narrow),
    Fault("network: slices", _slices),
    Fault("network: one bit changed", _flipped_byte),
    Fault("network: cut in the middle", _cut_in_the_middle),
    Fault("network: closed one way", _half_close),
    Fault("sshd: session killed", lambda s: _at_once(s.scene.server.kill_sessions)),
    Fault("sshd: killed", _server_killed),
    Fault("sshd: stopped", _server_stopped),
    Fault("tunnelctl restart", _restart),
    Fault("tunnelctl reload, twice, and a broken file", _reload),
    Fault("daemon: killed", _daemon_killed),
    Fault("daemon: stopped", _daemon_stopped),
    Fault("100 clients at once", _storm),
)
