"""Moments at which waits that began earlier are abandoned: a network change, a resume.

Owns the list of callbacks. Must never decide what has waited too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Disruptions:
    """For a supervisor. Used from the loop's thread only."""

    def __init__(self) -> None:
        self._told: dict[object, Callable[[], None]] = {}

    @contextmanager
    def telling(self, call: Callable[[], None]) -> Iterator[None]:
        """Call `call` at each moment while the block runs."""
        mine = object()
        self._told[mine] = call
        try:
            yield
        finally:
            del self._told[mine]

    def come(self) -> None:
        """Such a moment has come."""
        for call in tuple(self._told.values()):
            call()
