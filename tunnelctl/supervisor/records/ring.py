"""The last samples of one value, in four bytes each.

Must never grow: its memory is taken at the beginning, and a new sample replaces the oldest.
"""

from __future__ import annotations

import math
from array import array
from typing import Final

from tunnelctl.state.documents.history import SAMPLES

_NONE: Final = array("f", [math.nan])


class Ring:
    """At most `SAMPLES` numbers."""

    __slots__ = ("_added", "_values")

    def __init__(self) -> None:
        self._values = _NONE * SAMPLES
        self._added = 0

    def add(self, value: float | None) -> None:
        """The next sample; None if there was nothing to measure."""
        self._values[self._added % SAMPLES] = math.nan if value is None else value
        self._added += 1

    def in_order(self) -> array[float]:
        """A copy of all samples, the oldest first; NaN where there was nothing to measure."""
        if self._added < SAMPLES:
            return self._values[: self._added]
        oldest = self._added % SAMPLES
        return self._values[oldest:] + self._values[:oldest]
