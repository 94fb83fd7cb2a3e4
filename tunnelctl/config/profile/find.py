"""Finds the file of a profile by its name.

Owns the search order and the valid names. Never opens a profile.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tunnelctl.config import sentences
from tunnelctl.config.sentences import NAME_RULE
from tunnelctl.errors import Failure, reason
from tunnelctl.home.paths import config_dirs
from tunnelctl.quick_dataclass import dataclass

SUFFIXES = (".yaml", ".yml")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class FoundProfile:
    """A profile that exists; `hidden_by` is the file of the same name that is used instead."""

    name: str
    path: Path
    hidden_by: Path | None = None


def is_profile_name(name: str) -> bool:
    """Whether this is a valid name of a profile: it is part of a file name and of commands."""
    return _NAME.fullmatch(name) is not None


def find_profile(
    name: str,
    *,
    file: Path | None = None,
    environ: Mapping[str, str],
    cwd: Path,
    others: Iterable[str] = (),
) -> Path:
    """The file of the profile `name`: `file` if given, else the first hit of the search order.

    `others` are names of profiles without a file there, which may be meant.

    Raises:
        Failure: PROFILE_NOT_FOUND, with the places looked at and names that are near.
    """
    if file is not None:
        path = cwd / file
        if not _exists(path):
            raise sentences.no_file(file)
        return path
    if not is_profile_name(name):
        raise sentences.not_a_profile_name(name)
    found = file_called(name, environ, cwd)
    if found is not None:
        return found
    places = config_dirs(environ, cwd)
    files = (found.name for found in list_profiles(environ, cwd))
    raise _not_found(name, places, {*files, *others})


def file_called(name: str, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The first hit of the search order for a name, or None."""
    for place in config_dirs(environ, cwd):
        for suffix in SUFFIXES:
            path = place / (name + suffix)
            if _is_file(path):
                return path
    return None


def none_found(environ: Mapping[str, str], cwd: Path) -> Failure:
    """The failure if there is no profile at all."""
    return sentences.no_profiles(config_dirs(environ, cwd))


def is_same_file(one: str, other: str) -> bool:
    """Whether two paths are the same file, whether it exists or not."""
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def list_profiles(environ: Mapping[str, str], cwd: Path) -> tuple[FoundProfile, ...]:
    """Every profile that can be found, by name; hidden ones come after the one that hides them."""
    used: dict[str, Path] = {}
    profiles: list[FoundProfile] = []
    for place in config_dirs(environ, cwd):
        for path in _files(place):
            profiles.append(FoundProfile(path.stem, path, used.get(path.stem)))
            used.setdefault(path.stem, path)
    return tuple(sorted(profiles, key=lambda found: found.name))


def left_out(environ: Mapping[str, str], cwd: Path) -> Iterator[tuple[Path, str]]:
    """Files that look like profiles in the search order and are none, each with the reason."""
    for place in config_dirs(environ, cwd):
        try:
            names = sorted(os.listdir(place))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            yield place, f"its profiles cannot be listed: {reason(error)}"
            continue
        for path in (place / name for name in names if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES and (why := _why_not(path)):
                yield path, why


def _why_not(path: Path) -> str:
    if not is_profile_name(path.stem):
        return f"not a profile, {path.stem!r} cannot be its name: {NAME_RULE}"
    if path.suffix not in SUFFIXES:
        return f"not a profile, a profile's file ends in {' or '.join(SUFFIXES)}"
    return "" if _is_file(path) else "not a profile, it is no regular file"


def _files(place: Path) -> list[Path]:
    try:
        names = os.listdir(place)
    except OSError:  # most places of the search order do not exist; the others are in left_out
        return []
    paths = (place / name for name in names)
    kept = [p for p in paths if p.suffix in SUFFIXES and is_profile_name(p.stem) and _is_file(p)]
    return sorted(kept, key=lambda p: (p.stem, SUFFIXES.index(p.suffix)))


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):  # exists but cannot be examined: reading it reports why
        return True
    return True


def _not_found(name: str, places: Sequence[Path], names: Collection[str]) -> Failure:
    from difflib import get_close_matches  # only for a failure: it takes time

    near = get_close_matches(name, sorted(names), n=3)
    return sentences.no_profile(name, places, near, is_first=not names)
