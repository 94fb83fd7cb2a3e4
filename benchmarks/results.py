"""The samples of a run, their medians and ratios, and the comparison with the aims.

Must never invent or round a figure: one that was not measured is absent, and the report decides the
number of digits.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import AIMS, COMPILED, TUNNELCTL, Aim, Figure


@dataclass(frozen=True, slots=True)
class Verdict:
    """An aim and the measured value, which is a ratio if the aim names a peer."""

    aim: Aim
    value: float | None

    @property
    def reached(self) -> bool | None:
        """None: not measured."""
        return None if self.value is None else self.aim.is_reached(self.value)


@dataclass
class Results:
    """Samples by figure, peer and round; `failures` and `missing` give the reasons for absent
    ones."""

    circumstances: dict[str, Any]
    figures: dict[str, Figure]
    peers: list[str]
    samples: dict[str, dict[str, dict[int, float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    failures: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, number: int, peer: str, figures: dict[str, float]) -> None:
        """Record the figures of a peer in one round."""
        for key, value in figures.items():
            self.samples[key][peer][number] = value

    def median(self, figure: str, peer: str) -> float | None:
        """The median over the rounds."""
        samples = self._of(figure, peer)
        return statistics.median(samples.values()) if samples else None

    @property
    def judged(self) -> str:
        """The build whose figures the aims are about: the compiled one if it was measured."""
        return COMPILED if any(self._of(figure, COMPILED) for figure in self.samples) else TUNNELCTL

    def ratio(
        self, figure: str, peer: str, other: str | None = None, of: str = TUNNELCTL
    ) -> float | None:
        """The `figure` of one that is ours over that of `peer` (its `other` figure where given).

        The median of the ratios of each round, because the machine's speed changes between rounds.
        """
        ours, theirs = self._of(figure, of), self._of(other or figure, peer)
        ratios = [ours[n] / theirs[n] for n in sorted(ours.keys() & theirs.keys()) if theirs[n]]
        return statistics.median(ratios) if ratios else None

    def verdicts(self) -> list[Verdict]:
        """Every aim with the measured value."""
        return [Verdict(aim, self._reached(aim)) for aim in AIMS]

    def _reached(self, aim: Aim) -> float | None:
        ours = self.judged
        if aim.peer is None:
            return self.median(aim.figure, ours)
        peer = ours if aim.peer == TUNNELCTL else aim.peer
        return self.ratio(aim.figure, peer, aim.other, ours)

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {
            **self.circumstances,
            "figures": {
                figure.key: {
                    "title": figure.title,
                    "unit": figure.unit,
                    "peers": {
                        peer: {
                            "median": self.median(figure.key, peer),
                            "samples": list(self._of(figure.key, peer).values()),
                            "ratio_of_tunnelctl": self.ratio(figure.key, peer),
                            "ratio_of_compiled": self.ratio(figure.key, peer, of=COMPILED),
                        }
                        for peer in self.peers
                        if self._of(figure.key, peer)
                    },
                }
                for figure in self.figures.values()
            },
            "aims": [
                {
                    "figure": verdict.aim.figure,
                    "sense": verdict.aim.sense.value,
                    "bound": verdict.aim.bound,
                    "times_peer": verdict.aim.peer,
                    "times_figure": verdict.aim.other or (verdict.aim.peer and verdict.aim.figure),
                    "measured": verdict.value,
                    "reached": verdict.reached,
                }
                for verdict in self.verdicts()
            ],
            "missing": self.missing,
            "failures": self.failures,
        }

    def _of(self, figure: str, peer: str) -> dict[int, float]:
        return self.samples.get(figure, {}).get(peer, {})
