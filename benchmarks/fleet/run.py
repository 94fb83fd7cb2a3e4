"""One soak: faults in a seeded order, and what clients saw of each.

Owns the promises that are checked (docs/fleet.md), and the figures.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fleet.faults import KINDS, Kind
from benchmarks.fleet.observer import Observer
from benchmarks.machine import machine
from benchmarks.soak.report import percentile
from tests.support.fleet import LEASE, FleetScene, Machine, fleet_scene
from tests.support.services import connect
from tests.support.waiting import eventually

_BACK_WITHIN = 5.0  # seconds after the quorum is back
_PLANNED_WITHIN = 1.0
# A process is started, and answers, within this.
_PEACE_WITHIN = 12 * LEASE

PLANNED = "planned gap"
CLOSED = "a connection was closed"  # at a fault that must not close one


@dataclass(frozen=True)
class Outcome:
    """One fault as clients saw it. `gap`: seconds without an answer at the first server's port;
    `back`: seconds from a quorum to the first answer."""

    kind: Kind
    gap: float
    back: float | None = None
    ended: float | None = None  # seconds from the fault to the end of an open connection
    closed_after: bool = False  # one that it must not close meanwhile was closed after it
    # The profile is now at the machine with a clock of its own, which libfaketime slows down.
    is_at_slow: bool = False


@dataclass
class Soak:
    """The whole run."""

    seed: int
    seconds: float = 0.0
    answers: int = 0
    loads: list[float] = field(default_factory=list)  # of the machine, after each fault
    outcomes: list[Outcome] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def gaps(self, *, planned: bool) -> list[float]:
        """Of the faults at which another machine took the profile. Planned: a machine as fast as
        others."""
        return [
            one.gap
            for one in self.outcomes
            if one.kind.takes and one.kind.is_planned is planned
            if not (planned and one.is_at_slow)
        ]


def soak(
    seconds: float,
    seed: int,
    machines: int,
    say: Callable[[str], None],
    longest: float = math.inf,
    logs: Path | None = None,
) -> Soak:
    """Inject faults for so many seconds, one after another, each into a fleet in peace. None lasts
    longer than `longest` seconds. The last machine has a time of day of its own. After a planned
    gap that was too long the daemons' logs are copied to `logs`."""
    found, random = Soak(seed), Random(seed)
    with fleet_scene(machines, name=f"soak-{seed}", servers=2, evicts=True) as scene:
        for one in scene.machines:
            one.tells_token = True
            one.log = one.world.home / "log"
            one.world.unwatch()
        scene.machines[-1].with_clock()
        scene.start()
        observer = Observer(scene)
        try:
            _peace(scene, observer, 0.0)
            began = time.monotonic()
            kinds: list[Kind] = []
            while (now := time.monotonic() - began) < seconds:
                kinds = kinds or random.sample(KINDS, len(KINDS))
                outcome = _one(scene, observer, kinds.pop(), random, longest, found.violations)
                found.outcomes.append(outcome)
                found.loads.append(os.getloadavg()[0])
                if logs and outcome.kind.is_planned and outcome.gap > _PLANNED_WITHIN:
                    _keep_logs(scene, logs / f"{now:06.1f}")
                failed = len(found.violations) + len(observer.violations)
                say(
                    f"{now:6.1f} s  {outcome.kind.name}: gap {outcome.gap:.2f} s, "
                    f"load {found.loads[-1]:.1f}, {failed} violations"
                )
            found.seconds = time.monotonic() - began
        finally:
            observer.close()
        found.answers = observer.count
        found.violations += observer.violations
    return found


def _one(
    scene: FleetScene,
    observer: Observer,
    kind: Kind,
    random: Random,
    longest: float,
    violations: list[str],
) -> Outcome:
    lasts = min(longest, random.uniform(*kind.lasts))
    attached = eventually(lambda: _attached(scene), "the holder serves", _PEACE_WITHIN)
    assert attached is not None
    holder, client = attached
    with client:
        began = time.monotonic()
        ended: float | None = None
        with kind.inject(scene, holder, random):
            while (left := began + lasts - time.monotonic()) > 0 and ended is None:
                if _is_over(client, left):
                    ended = time.monotonic() - began
            time.sleep(max(0.0, began + lasts - time.monotonic()))
            if kind.ends and observer.answered_since(time.monotonic() - 0.5) is not None:
                violations.append(f"{kind.name}: clients are served without a quorum")
        mended = time.monotonic()
        if kind.keeps_meanwhile and ended is not None:
            violations.append(f"{kind.name}: {CLOSED}")
        _peace(scene, observer, mended)
        is_over = ended is not None or _is_over(client, 0.0)
        if kind.keeps and is_over:
            violations.append(f"{kind.name}: {CLOSED}")
    if kind.ends and (ended is None or ended > LEASE):
        violations.append(f"{kind.name}: a connection lived {ended or lasts:.1f} s after it")
    back = None
    if kind.ends:
        answer = observer.answered_since(mended)
        back = None if answer is None else answer.at - mended
    closed_after = kind.keeps_meanwhile and is_over
    is_at_slow = any(one.clock is not None and one.is_up() for one in scene.machines)
    return Outcome(kind, observer.gap(began), back, ended, closed_after, is_at_slow)


def _keep_logs(scene: FleetScene, folder: Path) -> None:
    folder.mkdir(parents=True)
    for one in scene.machines:
        assert one.log is not None
        shutil.copy(one.log, folder / f"{one.name}.log")


def _peace(scene: FleetScene, observer: Observer, since: float) -> None:
    eventually(lambda: scene.is_settled, "one holder, and all others stand by", _PEACE_WITHIN)
    eventually(lambda: scene.store.is_whole, "every member has caught up", _PEACE_WITHIN)
    eventually(
        lambda: observer.answered_since(since) is not None, "clients are served", _PEACE_WITHIN
    )


def _attached(scene: FleetScene) -> tuple[Machine, socket.socket] | None:
    """The holder, and a client of it that stays; None where it loses the profile just now, as by
    the end of a fault before (etcd issue 15247)."""
    with contextlib.suppress(OSError):
        for holder in scene.machines:
            if holder.is_up():
                client = connect(holder.local)
                with contextlib.suppress(OSError):
                    if client.recv(64):
                        return holder, client
                client.close()
    return None


def _is_over(client: socket.socket, seconds: float) -> bool:
    readable, _, _ = select.select([client], [], [], seconds)
    if not readable:
        return False
    with contextlib.suppress(OSError):
        return not client.recv(64)
    return True


def judged(found: Soak, times: float = 1.0) -> list[str]:
    """Every promise that was not kept. Limits are multiplied by `times` for a busy machine."""
    failed = list(found.violations)
    unplanned, planned = found.gaps(planned=False), found.gaps(planned=True)
    back = [one.back for one in found.outcomes if one.back is not None]
    for name, values, share, limit in (
        ("unplanned gap", unplanned, 0.5, LEASE + 3),
        ("unplanned gap", unplanned, 0.99, 2 * LEASE + 5),
        (PLANNED, planned, 0.99, _PLANNED_WITHIN),
        ("back after the quorum", back, 0.99, _BACK_WITHIN),
    ):
        if values and (value := percentile(values, share)) > limit * times:
            failed.append(f"{name}: p{share * 100:.0f} {value:.2f} s, not within {limit:g} s")
    return failed


def text(found: Soak) -> str:
    """The figures as a table."""
    lines = [
        f"{found.seconds / 60:.1f} minutes, seed {found.seed}, lease {LEASE:g} s, "
        f"{len(found.outcomes)} faults, {found.answers} answers to clients",
        f"{machine()['machine']}, load {min(found.loads):.1f} to {max(found.loads):.1f}, "
        f"median {statistics.median(found.loads):.1f}",
        "",
        f"{'fault':28}{'count':>6}{'gap p50':>9}{'max':>7}",
    ]
    for kind in KINDS:
        gaps = [one.gap for one in found.outcomes if one.kind is kind]
        if gaps:
            middle, longest = statistics.median(gaps), max(gaps)
            lines.append(f"{kind.name:28}{len(gaps):6}{middle:8.2f}s{longest:6.2f}s")
    for name, values in (
        ("unplanned, all", found.gaps(planned=False)),
        ("planned, all", found.gaps(planned=True)),
        (
            "planned, machine with clock",
            [one.gap for one in found.outcomes if one.kind.is_planned and one.is_at_slow],
        ),
        ("back after a quorum", [one.back for one in found.outcomes if one.back is not None]),
        (
            "closed without a quorum",
            [one.ended for one in found.outcomes if one.kind.ends and one.ended is not None],
        ),
    ):
        lines += _spread(name, values)
    stopped = [one for one in found.outcomes if one.kind.keeps_meanwhile]
    closed = sum(one.closed_after for one in stopped)
    lines.append(f"closed once a leader went on (etcd issue 15247): {closed} of {len(stopped)}")
    lines += ["", *(f"VIOLATION {one}" for one in judged(found))]
    lines.append(f"{len(judged(found))} violations")
    return "\n".join(lines) + "\n"


def _spread(name: str, values: Sequence[float]) -> list[str]:
    if not values:
        return []
    middle, longest = statistics.median(values), max(values)
    high = percentile(values, 0.99)
    return [f"{name:28}{len(values):6}{middle:8.2f}s{longest:6.2f}s  p99 {high:.2f} s"]


def document(found: Soak) -> dict[str, Any]:
    """Everything, as JSON."""
    return {
        "seconds": round(found.seconds, 1),
        "seed": found.seed,
        "lease": LEASE,
        "answers": found.answers,
        "loads": found.loads,
        "faults": [
            {
                "name": one.kind.name,
                "gap": one.gap,
                "back": one.back,
                "ended": one.ended,
                "closed_after": one.closed_after,
                "is_at_slow": one.is_at_slow,
            }
            for one in found.outcomes
        ],
        "violations": judged(found),
    }
