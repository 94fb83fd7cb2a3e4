"""The mistakes in a profile, in the order of the file.

Owns the form of a mistake, and the limit on their number. Knows nothing of YAML or of the schema.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from tunnelctl.errors import Code, Failure, printable

_SHOWN = 60  # characters of a value that a message quotes
REPORTED = 100  # mistakes that are reported; the others are counted
_LONGEST = 500  # characters of a message, and of the path before it
# The number of words compared for suggestions while a profile is loaded; each takes microseconds.
_COMPARED = 10_000

# Keys and indices from the top of the file to a value.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake. `path` is written `hosts.bastion.port`, and is empty for the file itself."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return printable(f"{self.file}:{self.line}:{self.column}: {where}{self.message}")


class ProfileInvalid(Failure):
    """One or more profiles that cannot be used, or what else is written as they are: `what`.

    `mistakes` has at most the first 100; `more` counts the others.
    """

    def __init__(
        self, name: str, mistakes: Iterable[Mistake], more: int = 0, *, what: str = "profile"
    ) -> None:
        found = tuple(mistakes)
        self.mistakes = found[:REPORTED]
        self.more = more + len(found) - len(self.mistakes)
        total = len(self.mistakes) + self.more
        count = "1 mistake" if total == 1 else f"{total} mistakes"
        lines = [str(mistake) for mistake in self.mistakes]
        if self.more:
            lines.append(f"and {self.more} more")
        text = "\n".join(lines)
        super().__init__(
            Code.CONFIG_INVALID, f"{what} {printable(name)} is not valid, {count}:\n{text}"
        )


class Mistakes:
    """Collects mistakes; a repeated one at the same place counts once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Mark, KeyPath, str], None] = {}
        self._compared = 0

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, mark: Mark, path: KeyPath, message: str) -> None:
        """Add a mistake; `message` is a sentence without a full stop."""
        self._found.setdefault((mark, path, _cut(message)))

    def suggestion(self, word: str, known: Iterable[str]) -> str:
        """` (did you mean port?)` if one of `known` is similar, else an empty text."""
        from difflib import get_close_matches  # imported only for an invalid file

        left = _COMPARED - self._compared
        if left <= 0 or len(word) > _SHOWN:
            return ""
        words = list(islice(known, left))
        self._compared += len(words)
        near = get_close_matches(word, words, n=1)
        return f" (did you mean {near[0]}?)" if near else ""

    def first(self, file: str) -> tuple[Mistake, ...]:
        """The first 100 by place; those of `file` come before those of other files."""

        def place(found: tuple[Mark, KeyPath, str]) -> tuple[bool, str, int, int]:
            mark = found[0]
            return (mark.file != file, mark.file, mark.line, mark.column)

        return tuple(
            Mistake(mark.file, mark.line, mark.column, _cut(path_text(path)), message)
            for mark, path, message in heapq.nsmallest(REPORTED, self._found, key=place)
        )


def path_text(path: KeyPath) -> str:
    """`hosts.bastion.host_key[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def _cut(text: str) -> str:
    """Cut a text that quotes the file, because a value may be as long as the file."""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def shown(value: object) -> str:
    """A value as a message quotes it: on one line and shortened."""
    if isinstance(value, dict):
        return "a map of keys"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "…"
    return repr(text) if isinstance(value, str) else text
