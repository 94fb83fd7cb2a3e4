"""`python -m benchmarks.fleet.hand_over`: how long clients are without an answer at a hand-over.

Prints each gap, and their distribution.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence

from benchmarks.fleet.observer import Observer
from benchmarks.machine import machine
from benchmarks.soak.report import percentile
from tests.support.fleet import LEASE, FleetScene, fleet_scene
from tests.support.waiting import eventually
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths

_AIM = 1.0  # seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet.hand_over", description=__doc__
    )
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--machines", type=int, default=5)
    asked = parser.parse_args(arguments)
    gaps, loads = [], []
    with fleet_scene(asked.machines, name="hand-over", servers=2, evicts=True) as scene:
        for one in scene.machines:
            one.tells_token = True
            one.world.unwatch()
        scene.start()
        observer = Observer(scene)
        try:
            for number in range(asked.times):
                gaps.append(_gap(scene, observer))
                loads.append(os.getloadavg()[0])
                print(f"{number + 1}: {gaps[-1]:.2f} s, load {loads[-1]:.1f}", file=sys.stderr)
        finally:
            observer.close()
    over = sum(gap > _AIM for gap in gaps)
    print(
        f"{len(gaps)} hand-overs, {asked.machines} machines, lease {LEASE:g} s: "
        f"median {statistics.median(gaps):.2f} s, p90 {percentile(gaps, 0.9):.2f} s, "
        f"longest {max(gaps):.2f} s, {over} longer than {_AIM:g} s"
    )
    print(f"{machine()['machine']}, load {min(loads):.1f} to {max(loads):.1f}")
    print(f"{len(observer.violations)} violations")
    return 1 if observer.violations else 0


def _gap(scene: FleetScene, observer: Observer) -> float:
    """Of one hand-over, into a fleet in peace: seconds between two answers, from the first server's
    port."""
    holder = scene.holder
    began = time.monotonic()
    world = holder.world
    Client(Paths.from_environ(world.environ, world.home)).hand_over("web")
    eventually(lambda: _answers(observer, began, holder.name), "the successor answers")
    scene.settle()
    return observer.gap(began)


def _answers(observer: Observer, since: float, but: str) -> bool:
    last = observer.last
    return last is not None and last.at > since and last.machine != but


if __name__ == "__main__":
    sys.exit(main())
