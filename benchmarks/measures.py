"""How each figure is measured, for any peer.

Each measure takes the scene and a running peer and yields figures by their key when it has them, so
that a peer that fails keeps the earlier ones. Figures that need a process are left out if the peer
has none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import load
from benchmarks.effort import Effort
from benchmarks.peers.base import Peer, Site
from benchmarks.processes import cpu_seconds, private_memory, resident_memory
from benchmarks.scene import Scene

Figures = dict[str, float]
Measure = Callable[[Scene, Effort, Peer], Iterator[Figures]]


class _Meter:
    """Processor time that a peer's processes used since creation, per unit of work."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._before = cpu_seconds(peer.pids)

    def per(self, key: str, amount: float) -> Figures:
        """Seconds per unit of `amount`, times the weight of the caller."""
        if not self._peer.pids:
            return {}
        return {key: (cpu_seconds(self._peer.pids) - self._before) / amount}


def throughput(scene: Scene, effort: Effort, peer: Peer) -> Iterator[Figures]:
    """One stream, up and then down."""
    for key, move in (("up", load.upload), ("down", load.download)):
        meter = _Meter(peer)
        moved = scene.load(move, peer.ports.bulk, effort.transfer_seconds)
        yield {key: moved.bytes / moved.seconds / 1e6}
        yield meter.per(f"{key}_cpu", moved.bytes / 1e9)


def echo(scene: Scene, effort: Effort, peer: Peer) -> Iterator[Figures]:
    """One small message at a time."""
    taken = scene.load(load.echo, peer.ports.echo[0], effort.pings, effort.ping_seconds)
    yield {
        "echo_p50": _percentile(taken, 0.50) * 1e6,
        "echo_p99": _percentile(taken, 0.99) * 1e6,
    }


def connections(scene: Scene, effort: Effort, peer: Peer) -> Iterator[Figures]:
    """New connections, sequentially and in parallel."""
    port, seconds = peer.ports.echo[0], effort.connect_seconds
    meter = _Meter(peer)
    made = scene.load(load.connect_in_sequence, port, seconds)
    yield {"sequence": made.count / made.seconds}
    yield meter.per("sequence_cpu", made.count / 1e6)
    meter = _Meter(peer)
    made = scene.load(load.connect_in_parallel, port, seconds, effort.connects_at_once)
    yield {"parallel": made.count / made.seconds}
    yield meter.per("parallel_cpu", made.count / 1e6)


def streams(scene: Scene, effort: Effort, peer: Peer) -> Iterator[Figures]:
    """Many streams at the same time, up and then down."""
    for key, move in (("streams_up", load.upload), ("streams_down", load.download)):
        moved = scene.load(
            load.streams, move, peer.ports.bulk, effort.streams, effort.streams_seconds
        )
        yield {key: moved.bytes / moved.seconds / 1e6, f"{key}_share": moved.share}


def beside(scene: Scene, effort: Effort, peer: Peer) -> Iterator[Figures]:
    """An echo while a stream fills the link, up and then down."""
    for key, move in (("beside_up", load.upload), ("beside_down", load.download)):
        stream = scene.begin(move, peer.ports.bulk, effort.beside_seconds)
        # It ends before the stream does.
        taken = scene.load(load.echo, peer.ports.echo[0], 1_000_000, 0.8 * effort.beside_seconds)
        scene.result(stream)
        yield {key: _percentile(taken, 0.99) * 1e3}


def far(scene: Scene, effort: Effort, peer: Peer) -> Iterator[Figures]:
    """One stream over a link with a long round trip, up and then down; the peer has logged in over
    it."""
    for key, move in (("far_up", load.upload), ("far_down", load.download)):
        moved = scene.load(move, peer.ports.bulk, effort.far_seconds)
        yield {key: moved.bytes / moved.seconds / 1e6}


def memory(scene: Scene, effort: Effort, peer: Peer) -> Iterator[Figures]:
    """The cost of more hosts, and of more connections. Starts the peer itself."""
    with _Running(peer, scene.near, hosts=effort.few_hosts + effort.more_hosts):
        many = private_memory(peer.pids)
    with _Running(peer, scene.near, hosts=effort.few_hosts) as held:
        few = private_memory(peer.pids)
        yield {"host_memory": (many - few) / effort.more_hosts / 1e3}
        held.open(peer.ports.echo[0], 1)
        before = private_memory(peer.pids)
        more = min(effort.more_connections, peer.idle_connections)
        held.open(peer.ports.echo[0], more)
        after = private_memory(peer.pids)
        yield {"connection_memory": (after - before) / more / 1e3}


def idle(scene: Scene, effort: Effort, peer: Peer) -> Iterator[Figures]:
    """Many idle hosts and connections. Starts the peer itself."""
    with _Running(peer, scene.near, hosts=effort.idle_hosts) as held:
        for number in range(effort.idle_connections):
            held.open(peer.ports.echo[number % effort.idle_hosts], 1)
        before, began = cpu_seconds(peer.pids), time.perf_counter()
        time.sleep(effort.idle_seconds)
        used, took = cpu_seconds(peer.pids) - before, time.perf_counter() - began
        yield {
            "idle_memory": resident_memory(peer.pids) / 1e6,
            "idle_cpu": used / took * 100,
        }


class _Running:
    """A peer from start to stop, with idle connections through it."""

    def __init__(self, peer: Peer, site: Site, *, hosts: int = 1) -> None:
        self._peer = peer
        self._site = site
        self._hosts = hosts
        self._held = load.IdleConnections()

    def __enter__(self) -> load.IdleConnections:
        self._peer.start(self._site, self._hosts)
        return self._held

    def __exit__(self, *exception: object) -> None:
        self._held.close()
        self._peer.stop()


def _percentile(values: list[float], part: float) -> float:
    """The smallest value that is not exceeded by `part` of the values."""
    return sorted(values)[math.ceil(part * len(values)) - 1]


@dataclass(frozen=True, slots=True)
class Phase:
    """Measures by name: those for which a peer is kept running, and those that start it."""

    measures: dict[str, Measure]
    far: bool = False
    alone: bool = False


PHASES = (
    Phase(
        {
            "throughput": throughput,
            "echo": echo,
            "connections": connections,
            "streams": streams,
            "beside": beside,
        }
    ),
    Phase({"far": far}, far=True),
    Phase({"memory": memory, "idle": idle}, alone=True),
)
NAMES = tuple(name for phase in PHASES for name in phase.measures)
