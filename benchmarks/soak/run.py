"""The soak: one fault after another, the time of each recovery, and a census in between."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import resident_memory
from benchmarks.soak.faults import FAULTS
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.scene import Settings, scene
from benchmarks.soak.stage import Fault, Moments, Stage
from benchmarks.soak.traffic import Traffic
from benchmarks.soak.watch import Watch
from tests.support.waiting import eventually
from tunnelctl.errors import Failure

# Seconds in addition to the silence that a peer may take, until it counts as no recovery.
_OVER_WITHIN = 120.0
_SETTLES_WITHIN = 20.0  # seconds for the last clients to be closed
_CALM = 3.0  # seconds at most between a recovery and the next fault


@dataclass(frozen=True, slots=True)
class Recovery:
    """A fault, and the longest time in seconds in which no client was served.

    None: no client was served afterwards.
    """

    fault: str
    outage: float | None  # of the local forward
    dynamic: float | None
    remote: float | None
    reconnect: float | None  # since the server was back, if it was away
    lost: bool  # whether the link was lost


@dataclass(frozen=True, slots=True)
class Census:
    """The resources of a daemon that is up and has no clients."""

    pid: int
    files: int
    threads: int
    memory: int  # resident bytes


@dataclass(slots=True)
class Soak:
    """The faults and their results."""

    settings: Settings
    seed: int
    ledger: Ledger = field(default_factory=Ledger)
    seconds: float = 0.0
    recoveries: list[Recovery] = field(default_factory=list)
    censuses: list[Census] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)  # of the control socket, seconds


def soak(settings: Settings, seconds: float, seed: int, say: Callable[[str], None]) -> Soak:
    """Cause faults for `seconds`, and until the last one is over; Ctrl-C ends it earlier."""
    found = Soak(settings, seed)
    with scene(settings) as made:
        traffic = Traffic(made, found.ledger, seed)
        watch = Watch(made, found.ledger, traffic.last_served)
        watch.start()
        traffic.start()
        try:
            _Run(Stage(made, traffic, watch, found.ledger, random.Random(seed)), found, say).until(
                found.ledger.began + seconds
            )
        except KeyboardInterrupt:
            say("interrupted; what was found until now:")
        except Failure as failure:
            found.ledger.violate(f"ended before its time: {failure.message}")
        finally:
            made.over.set()
            traffic.join()
            watch.join()
        try:
            made.close()
        except AssertionError as error:
            found.ledger.violate(f"the daemon's end: {error}")
    found.answers = watch.took
    found.seconds = time.monotonic() - found.ledger.began
    return found


class _Run:
    def __init__(self, stage: Stage, found: Soak, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._found = found
        self._say = say
        self._baseline: Census | None = None

    def until(self, end: float) -> None:
        """Every fault once in random order, then again in another."""
        chance = self._stage.chance
        self._count()
        faults = [f for f in FAULTS if self._stage.scene.own_network or not f.own_network]
        waiting: list[Fault] = []
        while time.monotonic() < end:
            if not waiting:
                waiting = chance.sample(faults, len(faults))
            self._meet(waiting.pop())
            self._count()
            self._stage.scene.over.wait(chance.uniform(0, _CALM))

    def _meet(self, fault: Fault) -> None:
        watch = self._stage.watch
        before = (watch.pid, watch.reconnects)
        # The time counts from here, because a fault may take a while to begin.
        began = time.monotonic()
        moments = self._do(fault)
        served = {way: self._await(way, moments) for way in self._stage.traffic.pings}
        watch.look()
        gaps = {
            way: at and self._stage.traffic.longest_gap(way, moments.begun, at)
            for way, at in served.items()
        }
        back = served["local"]
        recovery = Recovery(
            fault.name,
            gaps["local"],
            gaps["dynamic"],
            gaps["remote"],
            back - moments.over if back and moments.away else None,
            (watch.pid, watch.reconnects) != before,
        )
        self._found.recoveries.append(recovery)
        self._say(
            f"{began - self._found.ledger.began:7.1f} s  {fault.name}: "
            f"{'lost' if recovery.lost else 'kept'}, lasted {moments.over - moments.begun:.1f} s, "
            f"not served for {_seconds(recovery.outage)}, remote {_seconds(recovery.remote)}"
        )

    def _do(self, fault: Fault) -> Moments:
        try:
            return fault.do(self._stage)
        except (AssertionError, EOFError, Failure, OSError, subprocess.SubprocessError) as error:
            self._found.ledger.violate(f"{fault.name}: {error}")
            now = time.monotonic()
            return Moments(now, now)

    def _await(self, way: str, moments: Moments) -> float | None:
        traffic = self._stage.traffic
        within = self._found.settings.noticed + _OVER_WITHIN
        try:
            return eventually(
                lambda: traffic.passed(way, moments.begun, moments.over),
                f"{way} clients are served again",
                within,
            )
        except AssertionError:
            self._found.ledger.violate(f"{way} clients are not served again within {within:.0f} s")
            return None

    def _count(self) -> None:
        """Without clients the daemon must hold no more than before."""
        watch = self._stage.watch
        with watch.nobody_comes(), self._stage.traffic.quiet(), watch.asks_nothing():
            pid = self._stage.scene.pid()
            if self._baseline is None or self._baseline.pid != pid:
                self._baseline = _lowest(pid)
            baseline = self._baseline

            def settled() -> bool:
                now = _census(pid)
                return now.files <= baseline.files and now.threads <= baseline.threads

            try:
                eventually(settled, "settled", _SETTLES_WITHIN)
            except AssertionError:
                now = _census(pid)
                self._found.ledger.violate(
                    f"files {baseline.files} → {now.files}, threads {baseline.threads} → "
                    f"{now.threads}: {', '.join(_open_files(pid))}"
                )
            self._found.censuses.append(_census(pid))


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def _lowest(pid: int) -> Census:
    """The resources of a new daemon, after the workers of its start have ended."""
    seen: list[Census] = []

    def steady() -> bool:
        seen.append(_census(pid))
        last = seen[-25:]  # half a second
        return len(last) == 25 and len({(c.files, c.threads) for c in last}) == 1

    eventually(steady, "the new daemon is steady", _SETTLES_WITHIN)
    return seen[-1]


def _census(pid: int) -> Census:
    folder = Path(f"/proc/{pid}")
    return Census(
        pid,
        len(list((folder / "fd").iterdir())),
        len(list((folder / "task").iterdir())),
        resident_memory([pid]),
    )


def _open_files(pid: int) -> list[str]:
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(f"{entry.name}={entry.readlink()}")
        except OSError:
            continue
    return found
