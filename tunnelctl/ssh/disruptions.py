"""Moments at which to stop waiting for what was begun before: the network changed, a resume.

Owns who is to be told. Must never decide what has waited too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Disruptions:
    """Of a supervisor. Used from the loop's thread alone."""

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
        """This is such a moment."""
        for call in tuple(self._told.values()):
            call()
