"""`python -m benchmarks.fleet.scale`: many profiles over many machines; what the fleet costs.

Prints the requests to etcd a second, and the CPU of each daemon, once every profile has a holder.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.support.etcd import Cluster, cluster
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.client import Client
from tunnelctl.errors import Failure
from tunnelctl.home.paths import Paths

_PROFILE = (
    "version: 1\nhosts: {here: {embedded: true, lazy: true}}\n"
    'forwards: {one: {local: 0, to: "127.0.0.1:9", via: here, probe: {type: none}}}\n'
)
_STARTED = re.compile(r"^grpc_server_started_total\{.*\} (\S+)$", re.MULTILINE)
_READY_WITHIN = 120.0  # seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet.scale", description=__doc__)
    parser.add_argument("--profiles", type=int, default=200)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30.0)
    asked = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="tctl-s"))
    try:
        with ExitStack() as stack:
            store = stack.enter_context(cluster(directory / "etcd"))
            names = [f"p{number}" for number in range(asked.profiles)]
            worlds = [
                _machine(directory / f"w{number}", f"m{number}", names, store, stack)
                for number in range(asked.machines)
            ]
            eventually(lambda: len(_holders(worlds[0])) == len(names), "all held", _READY_WITHIN)
            _measure(worlds, store, asked.seconds)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def _machine(
    home: Path, name: str, profiles: Sequence[str], store: Cluster, stack: ExitStack
) -> World:
    home.mkdir(mode=0o700)
    world = World(home)
    world.unwatch()
    for profile in profiles:
        world.profile(profile, _PROFILE)
    (home / "fleet.yml").write_text(
        f"version: 1\nfleet: scale\nmachine: {name}\n"
        f"etcd: {{endpoints: [{', '.join(store.urls)}]}}\n"
    )
    with (home / "log").open("w") as log:
        process = world.start(
            "daemon", "--fleet", str(home / "fleet.yml"), *profiles, stdout=log.fileno()
        )
    stack.callback(process.communicate)
    stack.callback(process.kill)
    return world


def _holders(world: World) -> Counter[str]:
    """How many profiles each machine holds, and which: the keys are `machine profile`."""
    try:
        found = Client(Paths.from_environ(world.environ, world.home)).fleet()["fleet"]
    except Failure:
        return Counter()
    held = [f"{one['holder']} {one['name']}" for one in found["profiles"] if one["holder"]]
    return Counter(held)


def _measure(worlds: Sequence[World], store: Cluster, seconds: float) -> None:
    pids = [world.daemon_pid() for world in worlds]
    before, cpu = _requests(store), [_cpu(pid) for pid in pids]
    time.sleep(seconds)
    rate = (_requests(store) - before) / seconds
    shares = sorted((_cpu(pid) - at) / seconds * 100 for pid, at in zip(pids, cpu, strict=True))
    holders = Counter(key.partition(" ")[0] for key in _holders(worlds[0]))
    print(f"{sum(holders.values())} profiles over {len(worlds)} daemons, lease 15 s")
    print(f"profiles of a machine: {dict(sorted(holders.items()))}")
    print(f"requests to etcd: {rate:.1f} a second")
    print(f"CPU of a daemon: {shares[0]:.1f} to {shares[-1]:.1f} % of a core")


def _requests(store: Cluster) -> float:
    total = 0.0
    for url in store.urls:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            total += sum(map(float, _STARTED.findall(answer.read().decode())))
    return total


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
