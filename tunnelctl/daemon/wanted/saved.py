"""The file that a daemon leaves to the next one: the profiles that are wanted up, to be started
again, and the ports that servers hold for us, to recognize our own stale listeners.

Owns its format. It contains names of profiles, files and environment variables, and never a value,
which may be a secret. Must never leave a partial file. Quick to import, because `down` reads and
writes it when no daemon runs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tunnelctl.config.profile.find import is_profile_name
from tunnelctl.daemon import sentences
from tunnelctl.forward.remote.held_ports import HeldPort
from tunnelctl.home.whole_file import write_whole
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import parse_endpoint

_VERSION = 1
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class WantedProfile:
    """A profile that is wanted up. `variables` names those that its file refers to and that had a
    value; `until` is when it goes down by itself, in seconds since 1970."""

    name: str
    file: str
    variables: tuple[str, ...] = ()
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """The whole content."""

    profiles: tuple[WantedProfile, ...] = ()
    held: tuple[HeldPort, ...] = ()


def load(path: Path) -> Kept:
    """The content of the file.

    Raises:
        OSError: it cannot be read, or is not there.
        ValueError: it is not what a daemon writes.
    """
    return _parse(_read(path))


def store(path: Path, socket: str, kept: Kept) -> None:
    """Write the file for the next daemon. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, _text(kept, socket), sync=True)


def _text(kept: Kept, socket: str) -> bytes:
    wanted = [
        {"name": p.name, "file": p.file, "variables": list(p.variables), "until": p.until}
        for p in kept.profiles
    ]
    held = [
        {"forward": h.owner, "server": h.server, "listen": str(h.listen), "lost": h.lost}
        for h in kept.held
    ]
    document = {"version": _VERSION, "socket": socket, "profiles": wanted, "held": held}
    return json.dumps(document, indent=1).encode()


def _parse(raw: bytes) -> Kept:
    """Raises ValueError if it is not a text of `_text`."""
    try:
        document = json.loads(raw)
        if document["version"] != _VERSION:
            raise ValueError(sentences.wanted_of_another_version(repr(document["version"])))
        return Kept(
            tuple(_parse_one(entry) for entry in document["profiles"]),
            # An older file has none.
            tuple(_parse_held(entry) for entry in document.get("held", ())),
        )
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(sentences.wanted_malformed(str(error))) from None


def _parse_one(entry: dict[str, Any]) -> WantedProfile:
    name, file, variables = entry["name"], entry["file"], entry["variables"]
    texts = (name, file, *variables)
    if not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise ValueError(sentences.wanted_lacks("a name"))
    if not is_profile_name(name) or not file.startswith("/"):
        raise ValueError(sentences.wanted_no_profile(name))
    until = entry.get("until")
    if not (until is None or isinstance(until, int)):
        raise ValueError(sentences.wanted_lacks("a time"))
    return WantedProfile(name, file, tuple(variables), until)


def _parse_held(entry: dict[str, Any]) -> HeldPort:
    owner, server, listen, lost = (entry[key] for key in ("forward", "server", "listen", "lost"))
    if not all(isinstance(text, str) and text.isprintable() for text in (owner, server, listen)):
        raise ValueError(sentences.wanted_lacks("the name of a port"))
    if not (lost is None or isinstance(lost, int | float)):
        raise ValueError(sentences.wanted_lacks("a time"))
    return HeldPort(owner, server, parse_endpoint(listen), lost)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if os.fstat(descriptor).st_uid not in {0, os.geteuid()}:
            raise ValueError(sentences.wanted_of_another_user())
        return file.read(_MAX_BYTES)
