"""The last samples of one value, in four bytes each.

Must never grow: a new sample replaces the oldest.
"""

from __future__ import annotations

import math
from array import array
from typing import Final

from tunnelctl.state.documents.history import SAMPLES

_UNKNOWN: Final = math.nan


class Ring:
    """At most `SAMPLES` numbers."""

    __slots__ = ("_next", "_values")

    def __init__(self) -> None:
        self._values = array("f")
        self._next = 0  # where the oldest is, once it is full

    def add(self, value: float | None) -> None:
        """The next sample; None if there was nothing to measure."""
        number = _UNKNOWN if value is None else value
        if len(self._values) < SAMPLES:
            self._values.append(number)
        else:
            self._values[self._next] = number
            self._next = (self._next + 1) % SAMPLES

    def in_order(self) -> array[float]:
        """A copy of all samples, the oldest first; NaN where there was nothing to measure."""
        return self._values[self._next :] + self._values[: self._next]
