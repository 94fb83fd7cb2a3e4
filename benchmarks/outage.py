"""`python -m benchmarks.outage`: the effect of server outages on a client of each peer.

In each round sshd is killed three times within a minute, so that short-lived links count. A
download is under way when it is killed; a new client connects at once, and again whenever it is
refused; then sshd is started again. Prints a Markdown table, and the seconds of each round. Must
never report a stream as cut that was not: the download has no end of its own.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from benchmarks.peers.base import Peer, PeerError
from benchmarks.runner import all_peers
from benchmarks.scene import Scene
from benchmarks.targets import DOWNLOAD, REQUEST

_OUTAGES = 3  # in one round
_AWAY = 1.5  # seconds between the kill and the return
_AGAIN = 0.05  # seconds until a refused client connects again
_SERVED_WITHIN = 30.0  # seconds after the return
_DOWNLOAD_SECONDS = 600.0  # longer than any round
_NO_TUNNEL = "direct"


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage: the end of the download, the result of the new client, and the seconds from the
    server's return until the client was served; None if it was not."""

    cut: str
    newcomer: str
    back: float | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every installed peer, interleaved."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outage", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", action="append", help="measure only this peer; may be repeated")
    options = parser.parse_args(arguments)
    wanted = options.peer or [p.name for p in all_peers() if p.name != _NO_TUNNEL]
    peers = [p for p in all_peers() if p.name in wanted and p.missing() is None]
    print(report(measure(peers, options.rounds)), end="")


def measure(peers: Sequence[Peer], rounds: int) -> dict[str, list[list[Outage]]]:
    """The outages of each round, by peer."""
    seen: dict[str, list[list[Outage]]] = {peer.name: [] for peer in peers}
    with Scene() as scene:
        for _ in range(rounds):
            for peer in peers:
                seen[peer.name].append(_round(scene, peer))
    return seen


def report(seen: dict[str, list[list[Outage]]]) -> str:
    """A table of all outages, and the seconds until service for each."""
    lines = [
        "| | a download under way | a new client meanwhile | back after |",
        "|---|---|---|---|",
    ]
    for name, rounds in seen.items():
        outages = [outage for one in rounds for outage in one]
        cut, newcomer = _all(o.cut for o in outages), _all(o.newcomer for o in outages)
        lines.append(f"| {name} | {cut} | {newcomer} | {_back([o.back for o in outages])} |")
    lines += ["", "Seconds from the return of sshd until the client was served:", ""]
    for name, rounds in seen.items():
        each = ", ".join(" ".join(_seconds(o.back) for o in one) for one in rounds)
        lines.append(f"- {name}: {each}")
    return "\n".join(lines) + "\n"


def _round(scene: Scene, peer: Peer) -> list[Outage]:
    try:
        peer.start(scene.near)
    except PeerError as error:
        return [Outage(f"not measured: {error}", "", None)]
    try:
        outages: list[Outage] = []
        while len(outages) < _OUTAGES and all(o.back is not None for o in outages):
            outages.append(_outage(scene, peer))
        return outages
    finally:
        peer.stop()


def _outage(scene: Scene, peer: Peer) -> Outage:
    with _download(peer.ports.bulk) as stream:
        scene.server.kill()
        returns_at = time.monotonic() + _AWAY
        with _Newcomer(peer.ports.echo[0]) as newcomer:
            cut = _end_of(stream)
            threading.Event().wait(max(0.0, returns_at - time.monotonic()))
            fared = newcomer.fared
            scene.server.start()
            back_at = time.monotonic()
            served_at = newcomer.wait(_SERVED_WITHIN)
    return Outage(cut, fared, None if served_at is None else max(0.0, served_at - back_at))


class _Newcomer:
    """A client that connects until one byte is echoed. A context manager."""

    def __init__(self, port: int) -> None:
        self.fared = "waits"
        self._port = port
        self._served_at: float | None = None
        self._leaves = threading.Event()
        self._thread = threading.Thread(target=self._run, name="newcomer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaves.set()
        self._thread.join()

    def wait(self, seconds: float) -> float | None:
        """When it was served (monotonic seconds); None if that takes longer than the argument."""
        self._thread.join(seconds)
        return self._served_at

    def _run(self) -> None:
        while not self._leaves.is_set():
            fared = _echo(self._port)
            if self._served_at is None and fared == "answered":
                self._served_at = time.monotonic()
            self.fared = fared
            if fared == "answered":
                return
            self._leaves.wait(_AGAIN)


def _echo(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), _SERVED_WITHIN) as client:
            client.sendall(b"?")
            return "answered" if client.recv(1) else "accepted, then closed"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "waits"
    except OSError:
        return "accepted, then reset"


@contextmanager
def _download(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), _SERVED_WITHIN) as stream:
        stream.sendall(REQUEST.pack(DOWNLOAD, _DOWNLOAD_SECONDS))
        stream.recv(1)
        yield stream


def _end_of(stream: socket.socket) -> str:
    stream.settimeout(_AWAY)
    try:
        while stream.recv(1 << 20):
            pass
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "silent"
    return "looks complete"


def _all(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _seconds(back: float | None) -> str:
    return "never" if back is None else f"{back:.2f}"


def _back(seconds: Sequence[float | None]) -> str:
    there = [s for s in seconds if s is not None]
    if not there:
        return "never"
    never = f", {len(seconds) - len(there)} times never" if len(there) < len(seconds) else ""
    return f"{statistics.median(there):.1f} s ({min(there):.1f} to {max(there):.1f}){never}"


if __name__ == "__main__":
    main()
