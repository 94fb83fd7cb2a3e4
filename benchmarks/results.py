"""The samples of a run, their medians and ratios, and what they say about the aims.

Must never invent or round: a figure that was not measured is absent, digits are the report's.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import AIMS, TUNNELCTL, Aim, Figure


@dataclass(frozen=True, slots=True)
class Verdict:
    """An aim, and what was measured: `value` is a ratio where the aim names a peer."""

    aim: Aim
    value: float | None

    @property
    def reached(self) -> bool | None:
        """None: not measured."""
        return None if self.value is None else self.aim.is_reached(self.value)


@dataclass
class Results:
    """Samples by figure, peer and round; `failures` and `missing` say what is absent and why."""

    circumstances: dict[str, Any]
    figures: dict[str, Figure]
    peers: list[str]
    samples: dict[str, dict[str, dict[int, float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    failures: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, number: int, peer: str, figures: dict[str, float]) -> None:
        """Record what one round has measured of a peer."""
        for key, value in figures.items():
            self.samples[key][peer][number] = value

    def median(self, figure: str, peer: str) -> float | None:
        """Over the rounds."""
        samples = self._of(figure, peer)
        return statistics.median(samples.values()) if samples else None

    def ratio(self, figure: str, peer: str, other: str | None = None) -> float | None:
        """tunnelctl's `figure` over that of `peer` (its `other` figure where given).

        The median of the ratios of each round, since the machine drifts between rounds.
        """
        ours, theirs = self._of(figure, TUNNELCTL), self._of(other or figure, peer)
        ratios = [ours[n] / theirs[n] for n in sorted(ours.keys() & theirs.keys()) if theirs[n]]
        return statistics.median(ratios) if ratios else None

    def verdicts(self) -> list[Verdict]:
        """Every aim against what was measured."""
        return [
            Verdict(
                aim,
                self.ratio(aim.figure, aim.peer, aim.other)
                if aim.peer
                else self.median(aim.figure, TUNNELCTL),
            )
            for aim in AIMS
        ]

    def as_json(self) -> dict[str, Any]:
        """The whole as JSON has it."""
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
