"""How long something took, each time it was done: a histogram, as a frozen value.

Pure. Must never lose one: what is longer than every bound is counted too.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

# Seconds. From a link next door to one whose server thinks about a login for a minute.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts` has one number for each of BOUNDS, of those that took no longer and longer than the
    bound before, and one for all that took longer; `total` is in seconds."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    total: float = 0.0

    def with_one(self, seconds: float) -> Histogram:
        """The same and one more."""
        place = bisect_left(BOUNDS, seconds)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return replace(self, counts=counts, total=self.total + seconds)


NONE_YET = Histogram()
