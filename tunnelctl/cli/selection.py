"""Which profiles, and which of their parts, the words of a command mean: `dev`, `'dev*'`, `dev/db`.

Owns the wildcards (fnmatch(3): `*`, `?`, `[…]`), for every command that takes profiles. A word
without one means itself, whether there is such a profile or not: the command says what it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tunnelctl.errors import Code, Failure

_WILD = frozenset("*?[")


def has_wildcard(word: str) -> bool:
    """Whether a word can mean several names."""
    return not _WILD.isdisjoint(word)


def profiles(words: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names that `words` mean among those that are `known`, each once, in their order.

    Raises:
        Failure: profile-not-found, a wildcard means none of them.
    """
    names = tuple(known)
    return list(dict.fromkeys(name for word in words for name in _meant(word, names)))


def _meant(word: str, names: Sequence[str]) -> Sequence[str]:
    if not has_wildcard(word):
        return [word]
    found = [name for name in names if fnmatchcase(name, word)]
    if not found:
        raise _nothing(word, names)
    return found


@dataclass(frozen=True, slots=True)
class Place:
    """A word that may mean parts of profiles: `dev`, `dev/db`, `dev*/web*`."""

    word: str

    @property
    def profile(self) -> str:
        """The part before the slash."""
        return self.word.partition("/")[0]

    @property
    def part(self) -> str:
        """The name of a forward or host; `*`, all of them, where none was given."""
        return self.word.partition("/")[2] or "*"

    def takes(self, profile: str, *parts: str) -> bool:
        """Whether it means something of `profile` that goes by one of these names; without names,
        whether it can mean anything of that profile."""
        return fnmatchcase(profile, self.profile) and (
            not parts or any(fnmatchcase(part, self.part) for part in parts)
        )


def places(words: Iterable[str]) -> tuple[Place, ...]:
    """The words as places."""
    return tuple(map(Place, words))


def of_document(document: list[dict[str, Any]], words: Iterable[str]) -> list[dict[str, Any]]:
    """Of the profiles of a status document what `words` mean; all of it where there are none. A
    forward goes by its name and by that of its host.

    Raises:
        Failure: profile-not-found, a word means nothing.
    """
    wanted = places(words)
    for place in wanted:
        _check(place, document)
    if not wanted:
        return document
    kept = []
    for profile in document:
        meant = [place for place in wanted if place.takes(profile["name"])]
        forwards = [rule for rule in profile["forwards"] if _takes(meant, profile["name"], rule)]
        if forwards or any(place.part == "*" for place in meant):
            kept.append({**profile, "forwards": forwards})
    return kept


def _takes(meant: Iterable[Place], profile: str, forward: dict[str, Any]) -> bool:
    return any(place.takes(profile, forward["name"], forward["via"]) for place in meant)


def _check(place: Place, document: list[dict[str, Any]]) -> None:
    named = [profile for profile in document if place.takes(profile["name"])]
    if not named and not has_wildcard(place.profile):
        raise Failure(
            Code.PROFILE_NOT_FOUND,
            f"profile {place.profile} is not up",
            f"tunnelctl up {place.profile} -d",
        )
    if not named:
        raise _nothing(place.profile, [profile["name"] for profile in document])
    parts = [rule for profile in named for rule in profile["forwards"]]
    if place.part != "*" and not any(_takes([place], p["name"], r) for p in named for r in parts):
        names = ", ".join(rule["name"] for rule in parts) or "none"
        raise Failure(
            Code.PROFILE_NOT_FOUND,
            f"{place.word}: no forward and no host of a forward goes by {place.part}",
            f"forwards: {names}",
        )


def _nothing(word: str, names: Iterable[str]) -> Failure:
    known = ", ".join(names)
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"no profile matches {word}",
        f"there are {known}" if known else "there are none; tunnelctl ls lists the files",
    )
