"""Bytes a second, from the totals of two status documents.

Pure: the time is an argument. For a face that reads the status again and again; one that reads it
once has the rates of the history document.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tunnelctl.state.documents.snapshot import ProfileStatus

_OVER = 3.0  # seconds over which a rate is averaged


class ForwardRates:
    """The rate of each forward, averaged over the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[tuple[str, str], tuple[int, int]]]] = deque()

    def add(self, profiles: Iterable[ProfileStatus], now: float) -> None:
        """Record the totals at `now`, in monotonic seconds."""
        counts = {
            (profile.name, forward.name): (forward.bytes_in, forward.bytes_out)
            for profile in profiles
            for forward in profile.forwards
        }
        self._samples.append((now, counts))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _OVER:
            self._samples.popleft()

    def __call__(self, profile: str, forward: str) -> tuple[float, float]:
        """Bytes a second received and sent; 0 for a forward that is new or unknown."""
        if not self._samples:
            return (0.0, 0.0)
        (began, before), (ended, after) = self._samples[0], self._samples[-1]
        key = (profile, forward)
        if key not in before or key not in after or ended <= began:
            return (0.0, 0.0)
        come, gone = (
            max(0, now - then) / (ended - began)
            for now, then in zip(after[key], before[key], strict=True)
        )
        return come, gone
