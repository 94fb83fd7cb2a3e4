"""What is wrong in a profile, and where: every mistake, in the order of the file.

Owns how a mistake is written. Knows nothing of YAML or of the schema.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tunnelctl.errors import Code, Failure

_SHOWN = 60  # characters of a value that a message repeats
_SUGGESTED = 100  # unknown words that get a suggestion; looking for one takes a while

# Keys and indices from the top of the file down to a value.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong. `path` is written `hosts.bastion.port`, and empty for the file."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return printable(f"{self.file}:{self.line}:{self.column}: {where}{self.message}")


class ProfileInvalid(Failure):
    """A profile that cannot be used: `mistakes` has all that is wrong with it."""

    def __init__(self, name: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        lines = "\n".join(str(mistake) for mistake in self.mistakes)
        super().__init__(
            Code.CONFIG_INVALID, f"profile {printable(name)} is not valid, {count}:\n{lines}"
        )


class Mistakes:
    """Collects mistakes; the same one at the same place counts once."""

    def __init__(self) -> None:
        self._found: dict[Mistake, None] = {}
        self._suggested = 0

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, mark: Mark, path: KeyPath, message: str) -> None:
        """Note one; `message` is a sentence without a full stop."""
        mistake = Mistake(mark.file, mark.line, mark.column, path_text(path), message)
        self._found.setdefault(mistake)

    def suggestion(self, word: str, known: Iterable[str]) -> str:
        """` (did you mean port?)` where one of `known` is near, else nothing."""
        from difflib import get_close_matches  # only where something is wrong

        self._suggested += 1
        if self._suggested > _SUGGESTED or len(word) > _SHOWN:
            return ""
        near = get_close_matches(word, list(known), n=1)
        return f" (did you mean {near[0]}?)" if near else ""

    def ordered(self, first: str) -> tuple[Mistake, ...]:
        """All of them by place, those of the file `first` before those of other files."""
        return tuple(sorted(self._found, key=lambda m: (m.file != first, m.file, m.line, m.column)))


def path_text(path: KeyPath) -> str:
    """`hosts.bastion.host_key[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def shown(value: object) -> str:
    """A value as a message repeats it: quoted, on one line, not too long."""
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


def printable(text: str) -> str:
    """The text with everything that a terminal could obey written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
