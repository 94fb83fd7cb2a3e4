"""The environment of whoever asked for a profile, as one frozen value.

It comes with an order, is kept with the profile, and is what programs run in that ssh would run.
Owns `~`, the search path and the shell as such an environment has them. Must never show a value:
not in its representation, and so not in a log line or a message either.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

# What an order carries at most, in bytes of JSON. Linux gives a program 2 MiB, arguments included,
# and a shell that has half of that is rare.
MOST_BYTES = 1024 * 1024

_SHELL = "/bin/sh"  # _PATH_BSHELL of paths.h


class Environment(Mapping[str, str]):
    """Variables by name. Bytes that are not UTF-8 are kept as surrogate escapes (PEP 383)."""

    __slots__ = ("_variables",)

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables or {})

    @classmethod
    def from_bytes(cls, variables: Mapping[bytes, bytes]) -> Environment:
        """As `os.environb` has them, whatever the locale of this process."""
        return cls({_text(name): _text(value) for name, value in variables.items() if name})

    def to_bytes(self) -> dict[bytes, bytes]:
        """For execve(2)."""
        return {_raw(name): _raw(value) for name, value in self._variables.items()}

    def without(self, *names: str) -> Environment:
        """The same, less these variables."""
        return Environment({n: v for n, v in self._variables.items() if n not in names})

    def fitting(self, needed: Collection[str] = ()) -> tuple[Environment, tuple[str, ...]]:
        """What of it an order can carry, and the names of the variables that were left out.

        The largest go first; what is `needed` stays as long as there is something else.
        """
        sizes = {name: _json_bytes(name, value) for name, value in self.items()}
        total, left_out = sum(sizes.values()), []
        for name in sorted(sizes, key=lambda name: (name in needed, -sizes[name])):
            if total <= MOST_BYTES:
                break
            left_out.append(name)
            total -= sizes[name]
        return self.without(*left_out), tuple(left_out)

    @property
    def shell(self) -> str:
        """The shell that ssh(1) would run a command line by (sshconnect.c, ssh_proxy_connect)."""
        return self.get("SHELL") or _SHELL

    @property
    def search_path(self) -> str:
        """Where programs are looked for, as $PATH has it."""
        return self.get("PATH") or os.defpath

    def expand_user(self, path: str) -> str:
        """See `expand_user`."""
        return expand_user(path, self)

    def __getitem__(self, name: str) -> str:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return f"<Environment: {len(self)} variables>"


def home(environ: Mapping[str, str]) -> Path:
    """The home directory: `$HOME`, or what the password database says where it is not set."""
    named = environ.get("HOME", "")
    if named.startswith("/"):
        return Path(named)
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:  # a user id without an entry, as in many containers
        return Path("/")


def expand_user(path: str, environ: Mapping[str, str]) -> str:
    """`~` and `~/x` by `home`, `~name/x` by the password database; anything else unchanged.

    Raises:
        ValueError: there is no user of that name.
    """
    if not path.startswith("~"):
        return path
    name, slash, rest = path[1:].partition("/")
    try:
        folder = pwd.getpwnam(name).pw_dir if name else str(home(environ))
    except (KeyError, UnicodeError):
        raise ValueError(f"there is no user {name!r} on this machine") from None
    return folder.rstrip("/") + slash + rest or "/"


def _json_bytes(name: str, value: str) -> int:
    """In an object, with what stands between two of its members."""
    return len(json.dumps(name)) + len(json.dumps(value)) + len(": , ")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
