"""The list of the profiles that are wanted up, as a file, for the next daemon to bring them up.

Owns its form. It holds names only: of profiles, of their files, and of the environment variables
that were given, never a value, for a value may be a secret. Must never leave half a file behind.
Quick to import, for `down` reads and writes it where no daemon runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunnelctl.config.find import is_profile_name
from tunnelctl.config.whole_file import write_whole

_VERSION = 1
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class WantedProfile:
    """One that is to be up. `variables` names those its file refers to and that had a value;
    `until` is when it goes down by itself, in seconds since 1970."""

    name: str
    file: str
    variables: tuple[str, ...] = ()
    until: int | None = None


def load(path: Path) -> tuple[WantedProfile, ...]:
    """What the next daemon would bring up.

    Raises:
        OSError: it cannot be read, or is not there.
        ValueError: it is not what a daemon writes.
    """
    return _parse(_read(path))


def store(path: Path, socket: str, profiles: Iterable[WantedProfile]) -> None:
    """Have the next daemon bring these up. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, _text(profiles, socket), sync=True)


def _text(profiles: Iterable[WantedProfile], socket: str) -> bytes:
    wanted = [
        {"name": p.name, "file": p.file, "variables": list(p.variables), "until": p.until}
        for p in profiles
    ]
    document = {"version": _VERSION, "socket": socket, "profiles": wanted}
    return json.dumps(document, indent=1).encode()


def _parse(raw: bytes) -> tuple[WantedProfile, ...]:
    """Raises ValueError when it is not what `_text` writes."""
    try:
        document = json.loads(raw)
        if document["version"] != _VERSION:
            raise ValueError(f"it has version {document['version']!r}")
        return tuple(_parse_one(entry) for entry in document["profiles"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it is not what a daemon writes ({error})") from None


def _parse_one(entry: dict[str, Any]) -> WantedProfile:
    name, file, variables = entry["name"], entry["file"], entry["variables"]
    texts = (name, file, *variables)
    if not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise ValueError("it has something else where a name belongs")
    if not is_profile_name(name) or not file.startswith("/"):
        raise ValueError(f"{name!r} is no profile")
    until = entry.get("until")
    if not (until is None or isinstance(until, int)):
        raise ValueError("it has something else where a time belongs")
    return WantedProfile(name, file, tuple(variables), until)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if os.fstat(descriptor).st_uid not in {0, os.geteuid()}:
            raise ValueError("it belongs to another user")
        return file.read(_MAX_BYTES)
