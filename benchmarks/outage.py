"""`python -m benchmarks.outage`: what a server's outage looks like to a client of each peer.

A download is under way when sshd is killed; a new client comes while it is away; then it comes
back. Prints a Markdown table. Must never call a stream cut that was not: the download has no end
of its own.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.peers.base import Peer, PeerError
from benchmarks.runner import all_peers
from benchmarks.scene import Scene
from benchmarks.targets import DOWNLOAD, REQUEST
from tests.support.waiting import eventually

_AWAY = 1.5  # seconds between the kill and the return
_WAITS = 1.0  # seconds after which a client that was let in counts as waiting
_RETURN_WITHIN = 30.0  # seconds
_DOWNLOAD_SECONDS = 600.0  # longer than any round
_NO_TUNNEL = "direct"


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage: how the download ended, how a new client fared, seconds until it was over."""

    cut: str
    newcomer: str
    back: float | None


def main() -> None:
    """Measure every peer that is installed, interleaved."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outage", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    peers = [p for p in all_peers() if p.name != _NO_TUNNEL and p.missing() is None]
    seen: dict[str, list[Outage]] = {peer.name: [] for peer in peers}
    with Scene() as scene:
        for _ in range(rounds):
            for peer in peers:
                seen[peer.name].append(_outage(scene, peer))
    print("| | a download under way | a new client meanwhile | back after |\n|---|---|---|---|")
    for name, outages in seen.items():
        cut, newcomer = _all(o.cut for o in outages), _all(o.newcomer for o in outages)
        print(f"| {name} | {cut} | {newcomer} | {_back([o.back for o in outages])} |")


def _outage(scene: Scene, peer: Peer) -> Outage:
    try:
        peer.start(scene.near)
    except PeerError as error:
        return Outage(f"not measured: {error}", "", None)
    try:
        with _download(peer.ports.bulk) as stream:
            scene.server.kill()
            cut = _end_of(stream)
        threading.Event().wait(_AWAY)
        newcomer = _newcomer(peer.ports.echo[0])
        scene.server.start()
        return Outage(cut, newcomer, _until_back(peer.ports.echo[0]))
    finally:
        peer.stop()


@contextmanager
def _download(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), _RETURN_WITHIN) as stream:
        stream.sendall(REQUEST.pack(DOWNLOAD, _DOWNLOAD_SECONDS))
        stream.recv(1)
        yield stream


def _end_of(stream: socket.socket) -> str:
    try:
        while stream.recv(1 << 20):
            pass
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return f"silent for {_RETURN_WITHIN:.0f} s"
    return "ends as if complete"


def _newcomer(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), _WAITS) as client:
            client.sendall(b"?")
            return "answered" if client.recv(1) else "let in, then ended"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "waits"
    except OSError:
        return "let in, then reset"


def _until_back(port: int) -> float | None:
    began = time.monotonic()
    try:
        eventually(lambda: _echoes(port), "it is back", _RETURN_WITHIN)
    except AssertionError:
        return None
    return time.monotonic() - began


def _echoes(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), _RETURN_WITHIN) as client:
            client.sendall(b"?")
            return client.recv(1) == b"?"
    except OSError:
        return False


def _all(words: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _back(seconds: list[float | None]) -> str:
    there = [s for s in seconds if s is not None]
    if not there:
        return "never"
    never = f", {len(seconds) - len(there)} times never" if len(there) < len(seconds) else ""
    return f"{statistics.median(there):.1f} s ({min(there):.1f} to {max(there):.1f}){never}"


if __name__ == "__main__":
    main()
