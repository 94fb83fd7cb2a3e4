"""Arbitrary bytes read as decisions, so that a fuzzer's small change is a small change of what is
done. Never runs out: behind the last byte everything is zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Choice = TypeVar("Choice")


class Script:
    """Takes decisions from the front of `data`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to decide."""
        return self._at >= len(self._data)

    def take(self, count: int) -> bytes:
        """The next bytes, which may be fewer than `count`."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self, size: int) -> int:
        """An unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "big")

    def choose(self, choices: Sequence[Choice]) -> Choice:
        """One of at most 256 choices."""
        return choices[self.number(1) % len(choices)]
