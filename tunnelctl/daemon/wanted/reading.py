"""Reads profiles' files for the daemon, and detects when they have changed.

Owns the stamps that identify the version of a file. Must never block or delay the loop: files may
be on a disk that hangs, and parsing may take a second.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path

from tunnelctl.config.profile.find import find_profile
from tunnelctl.config.profile.load import Loaded, load_profile, load_profiles
from tunnelctl.config.yaml.mistakes import ProfileInvalid
from tunnelctl.daemon import sentences
from tunnelctl.errors import Failure
from tunnelctl.net.threads import collections_put_off, in_thread
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import Environment

Stamps = Mapping[str, tuple[int, ...]]  # for each file: inode, time of change, size

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Order:
    """How a wanted profile is loaded.

    `identity` identifies its file, whatever path names it. `environment` is that of the last
    command for the profile, else the daemon's own. `variables` are those that its file refers to
    and that had a value; `stamps` identify the versions of the files that were last read, and
    `reading` is the number of that reading (0: none yet).
    """

    name: str
    file: Path
    identity: str
    environment: Environment
    variables: frozenset[str] = frozenset()
    stamps: Stamps = field(default_factory=dict)
    reading: int = 0

    def heard(self, environment: Environment | None) -> Order:
        """The same, with the environment of a later command, which may run in another shell than
        `up`. Variables of the file that are not set there keep their value."""
        if environment is None:
            return self
        named = {name: self.environment[name] for name in self.variables & set(self.environment)}
        return replace(self, environment=Environment({**named, **environment}))


@dataclass(frozen=True, slots=True)
class ProfileReading:
    """A profile as its files were when the reading began; readings are numbered from 1."""

    loaded: Loaded
    stamps: Stamps
    identity: str
    number: int

    def given(self, environment: Environment) -> frozenset[str]:
        """The variables it refers to that have a value."""
        return frozenset(variable for variable in self.loaded.variables if variable in environment)


async def read_first(
    name: str, file: Path | None, environment: Environment, cwd: Path
) -> ProfileReading:
    """Find a profile, or take it from `file`, and read it.

    Raises:
        Failure: PROFILE_NOT_FOUND, CONFIG_INVALID.
    """
    number = next(_numbers)

    def read() -> ProfileReading:
        path = find_profile(name, file=file, environ=environment, cwd=cwd)
        return _read(name, path, environment, [], number)

    return await in_thread(read, f"read {name}")


async def read_only(
    files: Iterable[tuple[Path, str | None]], environment: Environment
) -> list[tuple[Path, Loaded]]:
    """Read profiles that are not wanted yet, each from its path and by its name.

    Raises:
        Failure: CONFIG_INVALID, with every mistake of every file.
    """

    def read() -> list[tuple[Path, Loaded]]:
        with collections_put_off():
            return load_profiles(files, environment)

    return await in_thread(read, "check profiles")


async def read_again(order: Order) -> ProfileReading:
    """Read the files of a wanted profile again.

    Raises:
        Failure: CONFIG_INVALID.
    """
    known, number = list(order.stamps), next(_numbers)
    return await in_thread(
        lambda: _read(order.name, order.file, order.environment, known, number),
        f"read {order.name}",
    )


async def identities(files: Collection[Path]) -> dict[Path, str]:
    """An identity for each file, whatever path names it."""
    return await in_thread(lambda: {file: _identity(file) for file in files}, "look at files")


async def take_stamps(order: Order) -> Stamps:
    """The stamps of a profile's files now."""
    files = order.stamps or [str(order.file)]
    return await in_thread(lambda: _stamps(files), f"look at {order.name}")


def demand_variables(order: Order) -> None:
    """Variables that a shell gave to the last daemon were not saved, because they may be secrets.

    Raises:
        Failure: SECRET_UNAVAILABLE, naming the variables that this daemon was not given.
    """
    lacking = [name for name in sorted(order.variables) if name not in order.environment]
    if lacking:
        raise sentences.variables_not_given(order.name, lacking)


def in_one_line(name: str, failure: Failure) -> Failure:
    """The error of a profile's file, as status shows it."""
    if not isinstance(failure, ProfileInvalid):
        return failure
    first, more = failure.mistakes[0], len(failure.mistakes) - 1 + failure.more
    return sentences.profile_file_invalid(name, str(first), more)


def _read(
    name: str, path: Path, environment: Environment, known: Iterable[str], number: int
) -> ProfileReading:
    identity = _identity(path)
    # Before reading, so that a change during it is detected.
    before = _stamps({str(path), identity, *known})
    with collections_put_off():
        loaded = load_profile(path, environment, name=name)
    return ProfileReading(
        loaded, {**_stamps(loaded.files - before.keys()), **before}, identity, number
    )


def _identity(file: Path) -> str:
    return os.path.realpath(file)


def _stamps(files: Iterable[str]) -> Stamps:
    return {file: _stamp(file) for file in files}


def _stamp(file: str) -> tuple[int, ...]:
    try:
        found = os.stat(file)
    except OSError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)
