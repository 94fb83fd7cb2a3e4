"""The environment of the command that requested a profile, as one frozen value.

It arrives with an order and is kept with the profile. Programs that ssh would run are run in it.
Owns `~`, the search path and the shell of such an environment. Must never show a value: not in its
representation, so neither in a log line nor in a message.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

# Upper bound of what an order carries, in bytes of JSON. Linux gives a program 2 MiB, arguments
# included, and a shell with half of that is rare.
MOST_BYTES = 1024 * 1024

_SHELL = "/bin/sh"  # _PATH_BSHELL of paths.h


class Environment(Mapping[str, str]):
    """Variables by name. Bytes that are not UTF-8 are kept as surrogate escapes (PEP 383)."""

    __slots__ = ("_variables",)

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables or {})

    @classmethod
    def from_bytes(cls, variables: Mapping[bytes, bytes]) -> Environment:
        """From the form of `os.environb`, independent of the locale of this process."""
        return cls({_text(name): _text(value) for name, value in variables.items() if name})

    def to_bytes(self) -> dict[bytes, bytes]:
        """For execve(2)."""
        return {_raw(name): _raw(value) for name, value in self._variables.items()}

    def without(self, *names: str) -> Environment:
        """The same, without these variables."""
        return Environment({n: v for n, v in self._variables.items() if n not in names})

    def fitting(self, needed: Collection[str] = ()) -> tuple[Environment, tuple[str, ...]]:
        """The part that fits into an order, and the names of the variables that were left out.

        The largest are left out first; `needed` variables stay as long as there are others.
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
        """The shell that ssh(1) would run a command line with (sshconnect.c, ssh_proxy_connect)."""
        return self.get("SHELL") or _SHELL

    @property
    def search_path(self) -> str:
        """The search path of programs, as in $PATH."""
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
    """The home directory: `$HOME`, or that of the password database if it is not set."""
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
    """The size of one member in a JSON object, including its separator."""
    return len(json.dumps(name)) + len(json.dumps(value)) + len(": , ")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
