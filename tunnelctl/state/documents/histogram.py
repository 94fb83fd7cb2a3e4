"""Durations as a histogram, a frozen value.

Pure. Must never lose a duration: those above every bound are counted too.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from tunnelctl.quick_dataclass import dataclass

# Seconds: from a link on the same network to a server that takes a minute for a login.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts` has one number for each of BOUNDS: the durations up to this bound and above the one
    before; and one for all longer durations. `total` is in seconds."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    total: float = 0.0

    def with_one(self, seconds: float) -> Histogram:
        """The histogram with one more duration."""
        place = bisect_left(BOUNDS, seconds)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return replace(self, counts=counts, total=self.total + seconds)


NONE_YET = Histogram()
