"""The words of a command line of ssh(1): options, the host, and the command after it.

Owns which letters are options and which take an argument (OpenSSH ssh.c, main), and how such a line
is told from names of profiles. The meaning of options is in ssh_command.py. Must stay quick to
import, because `up --help` needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WITH_ARGUMENT = frozenset("bceilmopBDEFIJLOPQRSWw")
_WITHOUT_ARGUMENT = frozenset("46AaCfGgKkMNnqsTtVvXxYy")
_FORWARDS = frozenset("LRD")


@dataclass
class Words:
    """The words of a command line by kind. `own` are options that are not ssh's, as typed."""

    options: list[tuple[str, str]] = field(default_factory=list)  # letter and argument
    host: str | None = None
    remote: tuple[str, ...] = ()
    own: list[str] = field(default_factory=list)

    @property
    def in_background(self) -> bool:
        """-f: ssh continues in the background after login."""
        return any(option == "f" for option, _ in self.options)


def apart(
    words: Sequence[str],
    own: Mapping[str, bool] | None = None,
    with_argument: frozenset[str] = WITH_ARGUMENT,
) -> Words:
    """Options, host and command. `own` has the caller's options: whether each takes a value. A
    letter that ssh has too is ssh's.

    Options may follow the host, up to the command (ssh.c, `again:`).

    Raises:
        ValueError: an option that ssh has not, or without its argument.
    """
    found, rest, ended = Words(), list(words), False
    own = own or {}
    while rest:
        word = rest.pop(0)
        if word == "--" and not ended:
            ended = True
        elif ended or not word.startswith("-") or word == "-":
            if found.host is not None:
                found.remote = (word, *rest)
                break
            found.host = word
        elif word.startswith("--"):
            _take_own(found, word, rest, own)
        else:
            _take_letters(found, word[1:], rest, own, with_argument)
    return found


def _take_own(found: Words, word: str, rest: list[str], own: Mapping[str, bool]) -> None:
    name, equals, _ = word.partition("=")
    if name not in own:
        raise ValueError(f"there is no option {name}")
    found.own.append(word)
    if own[name] and not equals:
        if not rest:
            raise ValueError(f"{name} needs an argument")
        found.own.append(rest.pop(0))


def _take_letters(
    found: Words,
    letters: str,
    rest: list[str],
    own: Mapping[str, bool],
    with_argument: frozenset[str],
) -> None:
    """The letters behind one dash: `-fNT`, `-p2222`, `-p 2222`."""
    while letters:
        option, letters = letters[0], letters[1:]
        if option in with_argument:
            if not letters and not rest:
                raise ValueError(f"-{option} needs an argument")
            found.options.append((option, letters or rest.pop(0)))
            return
        if option in _WITHOUT_ARGUMENT:
            found.options.append((option, ""))
        elif f"-{option}" in own:
            found.own.append(f"-{option}")
        else:
            raise ValueError(f"there is no option -{option}")


def is_ssh_line(words: Sequence[str], own: Mapping[str, bool], *, leading: bool = False) -> bool:
    """Whether words that may be names of profiles are those of ssh: one is an option of ssh's only.

    Neither -q nor -v decides, and -f only together with others: before a word it is the option for
    a profile's file. `leading`: only words before the first other word count.
    """
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--" or (leading and not word.startswith("-")):
            return False
        if word.startswith("--"):
            takes = own.get(word, False)
        elif word == "-f":
            takes = bool(rest) and not rest[0].startswith("-")
        else:
            takes = False
            if word.startswith("-") and _has_ssh_option(word[1:]):
                return True
        if takes and rest:
            rest.pop(0)
    return False


def _has_ssh_option(letters: str) -> bool:
    """The letters after a dash. `-fprod.yaml` is a file; `-fN` and `-fTL` are ssh's."""
    known, options = WITH_ARGUMENT | _WITHOUT_ARGUMENT, _before_argument(letters)
    if letters.startswith("f"):
        is_whole = options == letters and ("T" in options or options[-1] in _FORWARDS)
        return set(options) <= known and ("N" in options or is_whole)
    return any(letter in known and letter not in "fqv" for letter in options)


def _before_argument(letters: str) -> str:
    """The letters that are options: all up to one that takes the rest as its argument."""
    for at, letter in enumerate(letters):
        if letter in WITH_ARGUMENT:
            return letters[: at + 1]
    return letters
