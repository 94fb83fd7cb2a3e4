"""`python -m benchmarks.opens`: a million connections through one forward, opened and closed.

Prints the rate, the growth of the daemon's memory, and whether its descriptors and threads are as
few as before. Must never count a connection that did not carry a byte in each direction.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import connect_in_parallel
from benchmarks.machine import machine
from benchmarks.peers.base import Peer
from benchmarks.peers.tunnelctl import Tunnelctl
from benchmarks.processes import resident_memory
from benchmarks.scene import Scene
from tests.support.waiting import eventually

_COUNT = 1_000_000
_AT_ONCE = 100
_SLICE = 2.0  # seconds between two samples of the daemon
_SETTLES_WITHIN = 15.0  # seconds for the last clients to be closed


@dataclass(frozen=True, slots=True)
class Holds:
    """The resources of a process after so many connections."""

    connections: int
    memory: int  # resident bytes
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Opens:
    """One run. `samples` begin before the first connection and end after the last one."""

    count: int
    seconds: float
    samples: Sequence[Holds]

    @property
    def slope(self) -> float:
        """Bytes of memory per connection in the second half (least squares). In the first half
        buffers, pools and the allocator's arenas grow to their size."""
        later = [sample for sample in self.samples if sample.connections * 2 >= self.count]
        counts = [sample.connections for sample in later]
        if len(set(counts)) < 2:
            return 0.0
        return statistics.linear_regression(counts, [s.memory for s in later]).slope


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.opens", description=__doc__)
    parser.add_argument("--count", type=int, default=_COUNT, help="how many connections, at least")
    parser.add_argument("--at-once", type=int, default=_AT_ONCE)
    asked = parser.parse_args()
    about = machine()
    print(text(measure(asked.count, asked.at_once)))
    print(" · ".join(about.values()))


def measure(count: int, at_once: int) -> Opens:
    """Open at least `count` connections, `at_once` concurrently.

    Raises:
        PeerError: a connection failed.
        AssertionError: descriptors or threads were left behind.
    """
    peer = Tunnelctl()
    with Scene() as scene:
        peer.start(scene.near)
        try:
            before = _holds(peer, 0)
            samples, seconds = [before], 0.0
            while (done := samples[-1].connections) < count:
                made = scene.load(connect_in_parallel, peer.ports.echo[0], _SLICE, at_once)
                seconds += made.seconds
                samples.append(_holds(peer, done + made.count))

            def settled() -> bool:
                now = _holds(peer, 0)
                return now.files <= before.files and now.threads <= before.threads

            eventually(settled, "descriptors and threads are given back", _SETTLES_WITHIN)
            samples.append(_holds(peer, samples[-1].connections))
        finally:
            peer.stop()
    return Opens(samples[-1].connections, seconds, samples)


def text(opens: Opens) -> str:
    """The figures, for display."""
    first, last = opens.samples[0], opens.samples[-1]
    return (
        f"{opens.count:,} connections in {opens.seconds:.0f} s: "
        f"{opens.count / opens.seconds:,.0f} a second\n"
        f"memory {first.memory / 1e6:.1f} MB before, {last.memory / 1e6:.1f} MB after; "
        f"{opens.slope:+.2f} bytes a connection in the second half\n"
        f"descriptors {first.files} before, {last.files} after; "
        f"threads {first.threads} before, {last.threads} after"
    )


def _holds(peer: Peer, connections: int) -> Holds:
    folders = [Path(f"/proc/{pid}") for pid in peer.pids]
    files, threads = (
        sum(len(list((folder / kind).iterdir())) for folder in folders) for kind in ("fd", "task")
    )
    return Holds(connections, resident_memory(peer.pids), files, threads)


if __name__ == "__main__":
    main()
