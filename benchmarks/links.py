"""`python -m benchmarks.links`: several streams over one link, and over several (`links: N`).

Each round measures both, one after the other: warm-up streams until the links are there, then
downloads that begin together. Prints a Markdown table. With fewer cores than processes that have
work (the daemon, an sshd for each link, source and reader) no gain is to be expected.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
from collections.abc import Sequence
from functools import partial

from benchmarks import load
from benchmarks.peers.tunnelctl import Tunnelctl
from benchmarks.scene import Scene
from tests.support.waiting import eventually

_STREAMS = 4
_LINKS = (1, 4)
_WARM_UP = 8.0  # seconds of the streams that make the links wanted
_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in turn, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.links", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds: int = parser.parse_args(arguments).rounds
    rates: dict[int, list[float]] = {links: [] for links in _LINKS}
    with Scene() as scene:
        for _ in range(rounds):
            for links, seen in rates.items():
                seen.append(_measure(scene, links))
    print(f"{_STREAMS} downloads at once, {os.cpu_count()} cores, {rounds} rounds\n")
    print("| links | MB/s, median | each round |")
    print("|---|---|---|")
    for links, seen in rates.items():
        each = ", ".join(f"{rate:.0f}" for rate in seen)
        print(f"| {links} | {statistics.median(seen):.0f} | {each} |")


def _measure(scene: Scene, links: int) -> float:
    """MB/s of all streams together."""
    peer = Tunnelctl(links=links)
    peer.start(scene.near)
    try:
        port = peer.ports.bulk
        # Every link has to be busy before another one is made.
        warm = [
            threading.Thread(target=load.download, args=(port, _WARM_UP)) for _ in range(links - 1)
        ]
        for number, thread in enumerate(warm, 1):
            thread.start()
            eventually(partial(_has_more_links, peer, number), "another link is there")
        for thread in warm:
            thread.join()
        moved = scene.load(load.streams, load.download, port, _STREAMS, _SECONDS)
        return moved.bytes / moved.seconds / 1e6
    finally:
        peer.stop()


def _has_more_links(peer: Tunnelctl, count: int) -> bool:
    return peer.link_count() > count


if __name__ == "__main__":
    main()
