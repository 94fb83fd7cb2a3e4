"""The file that says which profiles are wanted up, for the next daemon to bring them up again.

Owns that file. It holds names only: of profiles, of their files, and of the environment variables
that were given, never a value, for a value may be a secret. Must never leave half a file behind,
and never keep the daemon from its work: what cannot be written is one warning, and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunnelctl.config.find import is_profile_name
from tunnelctl.config.whole_file import write_whole
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.errors import Failure
from tunnelctl.net.threads import in_thread
from tunnelctl.supervisor.tasks import Tasks

_VERSION = 1
_MAX_BYTES = 1 << 20
_AGAIN_AFTER = 30.0  # seconds until a write that failed is tried again
_TROUBLE = "the list of wanted profiles"


@dataclass(frozen=True, slots=True)
class WantedProfile:
    """One that is to be up. `variables` names those its file refers to and that had a value;
    `until` is when it goes down by itself, in seconds since 1970."""

    name: str
    file: str
    variables: tuple[str, ...] = ()
    until: int | None = None


class WantedFile:
    """`path` belongs to the daemon that holds the control socket `socket`, and to no other."""

    def __init__(self, path: Path, socket: Path, troubles: Troubles) -> None:
        self._path = path
        self._socket = str(socket)
        self._troubles = troubles
        self._tasks = Tasks("daemon")
        self._lock = asyncio.Lock()
        self._latest: tuple[WantedProfile, ...] = ()
        self._written: tuple[WantedProfile, ...] | None = ()
        self._again: asyncio.TimerHandle | None = None

    def read(self) -> tuple[WantedProfile, ...]:
        """What the last daemon had. Blocking. A file that makes no sense counts as empty, and is
        set aside before another takes its place."""
        try:
            self._latest = self._written = load(self._path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as error:
            self._written = None
            self._troubles.begin(
                _TROUBLE,
                f"{self._path} is not used, nothing of it is brought up: {error}; it is kept as "
                f"{_aside(self._path).name}",
            )
        return self._latest

    def save(self, profiles: Iterable[WantedProfile]) -> asyncio.Task[None]:
        """Begin to write; whoever must not go on before it is on disk waits for the task."""
        self._latest = tuple(profiles)
        return self._tasks.spawn(self._save(), "save what is wanted")

    async def close(self, seconds: float) -> None:
        """Wait for what is being written, no longer than `seconds`."""
        if self._again is not None:
            self._again.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._tasks.settle()

    async def _save(self) -> None:
        async with self._lock:
            latest = self._latest
            if latest == self._written:
                self._troubles.end(_TROUBLE)
                return
            try:
                await in_thread(lambda: self._replace(latest), "wanted profiles")
            except (OSError, Failure) as error:
                why = (isinstance(error, OSError) and error.strerror) or error
                self._troubles.begin(
                    _TROUBLE,
                    f"cannot save to {self._path} which profiles are wanted: {why}; "
                    "the next daemon brings up what it says now",
                )
                self._try_again()
            else:
                self._written = latest
                self._troubles.end(_TROUBLE)

    def _replace(self, profiles: Iterable[WantedProfile]) -> None:
        if self._written is None:
            with contextlib.suppress(OSError):  # it is not there any more
                os.replace(self._path, _aside(self._path))
        store(self._path, self._socket, profiles)

    def _try_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
        loop = asyncio.get_running_loop()
        self._again = loop.call_later(_AGAIN_AFTER, lambda: self.save(self._latest))


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


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.unused")


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
