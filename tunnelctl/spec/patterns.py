"""Words that match several profiles, or parts of them: `dev*`, `dev/db`, `*/bastion`.

Owns the wildcards, which are the shell's (fnmatch(3): `*`, `?`, `[…]`).
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from tunnelctl.quick_dataclass import dataclass

_WILD = frozenset("*?[")
_ANY = "*"


def has_wildcard(word: str) -> bool:
    """Whether a word can match several names."""
    return not _WILD.isdisjoint(word)


@dataclass(frozen=True, slots=True)
class Pattern:
    """`PROFILE`, or `PROFILE/PART` where a part is a forward or a host."""

    word: str

    @property
    def profile(self) -> str:
        """The pattern of the profile."""
        return self.word.partition("/")[0]

    @property
    def part(self) -> str:
        """The pattern of the part; `*` if there is none."""
        return self.word.partition("/")[2] or _ANY

    @property
    def is_whole(self) -> bool:
        """Whether every part matches."""
        return self.part == _ANY

    def takes(self, profile: str, *parts: str) -> bool:
        """Whether it matches one of these names in `profile`; without names, whether it can match
        anything in that profile."""
        return fnmatchcase(profile, self.profile) and (
            not parts or any(fnmatchcase(part, self.part) for part in parts)
        )
