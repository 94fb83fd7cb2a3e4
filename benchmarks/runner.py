"""One run: in each round every measure, and for each measure one peer after another.

So changes in the machine's speed affect all peers alike. Must never let a failing peer end the run:
the failure is a result.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Sequence

from benchmarks.effort import Effort
from benchmarks.figures import ASYNCSSH, AUTOSSH, DIRECT, SSH, SSH_GCM, SSHTUNNEL, figures
from benchmarks.machine import machine, versions
from benchmarks.measures import NAMES, PHASES, Measure, Phase
from benchmarks.peers.base import Direct, Peer, PeerError
from benchmarks.peers.openssh import Autossh, Ssh
from benchmarks.peers.python import PythonPeer
from benchmarks.peers.tunnelctl import CompiledTunnelctl, Tunnelctl
from benchmarks.results import Results
from benchmarks.scene import Scene

# sshtunnel uses select(2), which allows no descriptor above 1023, and needs three per connection.
_SSHTUNNEL_CONNECTIONS = 250


def all_peers() -> list[Peer]:
    """In the order of the report's columns."""
    return [
        Tunnelctl(),
        CompiledTunnelctl(),
        Ssh(SSH),
        Ssh(SSH_GCM, "aes128-gcm@openssh.com"),
        Autossh(AUTOSSH),
        PythonPeer(SSHTUNNEL, _SSHTUNNEL_CONNECTIONS),
        PythonPeer(ASYNCSSH),
        Direct(DIRECT),
    ]


def run(effort: Effort, *, only: Collection[str] = NAMES, peers: Collection[str] = ()) -> Results:
    """Measure the figures in `only`, for `peers` (all of them if it is empty)."""
    chosen = [peer for peer in all_peers() if not peers or peer.name in peers]
    results = Results(
        {**machine(), "rounds": effort.rounds, "versions": versions(chosen)},
        figures(effort),
        [peer.name for peer in chosen],
    )
    for peer in chosen:
        if reason := peer.missing():
            results.missing[peer.name] = reason
    present = [peer for peer in chosen if peer.name not in results.missing]
    with Scene() as scene:
        for phase in PHASES:
            measures = {name: way for name, way in phase.measures.items() if name in only}
            if measures:
                _Phase(scene, effort, results, phase, measures).run(present)
    return results


class _Phase:
    """One phase of a run."""

    def __init__(
        self,
        scene: Scene,
        effort: Effort,
        results: Results,
        phase: Phase,
        measures: dict[str, Measure],
    ) -> None:
        self._scene = scene
        self._effort = effort
        self._results = results
        self._phase = phase
        self._measures = measures
        self._site = scene.far if phase.far else scene.near

    def run(self, peers: Sequence[Peer]) -> None:
        """All rounds; peers are stopped afterwards."""
        rounds = self._effort.far_rounds if self._phase.far else self._effort.rounds
        taking_part = [peer for peer in peers if self._takes_part(peer)]
        if self._phase.alone:
            for name, measure in self._measures.items():
                for peer in taking_part:
                    if name != "idle" or isinstance(peer, Tunnelctl):
                        self._measure(0, name, measure, peer)
            return
        for number in range(rounds):
            self._round(number, taking_part)

    def _round(self, number: int, peers: Sequence[Peer]) -> None:
        """Every measure once. The cost of a byte in sshd differs between sessions, so each round
        has new ones, and no session affects a whole run."""
        try:
            up = [peer for peer in peers if self._starts(peer)]
            for name, measure in self._measures.items():
                first = number % len(up) if up else 0
                for peer in up[first:] + up[:first]:
                    if not self._measure(number, name, measure, peer):
                        self._stop(peer)
                        self._starts(peer)
        finally:
            for peer in peers:
                self._stop(peer)

    def _takes_part(self, peer: Peer) -> bool:
        # Without a tunnel there is no process to measure, and no long round trip.
        return not isinstance(peer, Direct) or not (self._phase.far or self._phase.alone)

    def _starts(self, peer: Peer) -> bool:
        try:
            peer.start(self._site)
        except PeerError as error:
            self._failed(str(error))
            return False
        return True

    def _stop(self, peer: Peer) -> None:
        try:
            peer.stop()
        except PeerError as error:
            self._failed(str(error))

    def _measure(self, number: int, name: str, measure: Measure, peer: Peer) -> bool:
        """Whether the peer completed it."""
        began = time.monotonic()
        try:
            for measured in measure(self._scene, self._effort, peer):
                self._results.add(number, peer.name, measured)
                took = time.monotonic() - began
                for key, value in measured.items():
                    _say(f"{number + 1:>2} {took:6.1f} s  {peer.name:<10} {key:<18} {value:10.4g}")
        except (PeerError, OSError) as error:
            self._failed(f"{peer.name}, {name}, round {number + 1}: {error} {peer.said()}".strip())
            return False
        return True

    def _failed(self, text: str) -> None:
        self._results.failures.append(text)
        _say(f"failed: {text}")


def _say(text: str) -> None:
    """Write to stderr; stdout is for the report."""
    print(text, file=sys.stderr, flush=True)
