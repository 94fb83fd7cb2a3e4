"""The bodies of requests, checked.

Owns what a right program may ask. Must never guess what a wrong one meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunnelctl.config.find import is_profile_name
from tunnelctl.daemon.problems import BadRequest

DRAIN = 10.0  # seconds, when `down` does not say
_LONGEST_DRAIN = 3600.0
_LEASE = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True, slots=True)
class UpOrder:
    """The body of `up`: where the profile is, the variables it names, and who holds it up.

    `environment` goes over the daemon's own; None unsets a variable.
    """

    file: Path | None = None
    environment: Mapping[str, str | None] | None = None
    lease: str | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> UpOrder:
        """Check the body of a request.

        Raises:
            BadRequest: with what is wrong with it.
        """
        refuse_unknown(body, ("file", "environment", "lease"))
        file = body.get("file")
        environment = body.get("environment") or {}
        if file is not None and not (isinstance(file, str) and file.startswith("/")):
            raise BadRequest("file must be an absolute path")
        if not isinstance(environment, dict) or not all(
            value is None or isinstance(value, str) for value in environment.values()
        ):
            raise BadRequest("environment must be an object of strings")
        texts = (file or "", *environment, *filter(None, environment.values()))
        if any("\0" in text for text in texts):
            raise BadRequest("a NUL byte has no place in a path or a variable")
        lease = read_lease(body.get("lease"))
        return cls(Path(file) if file is not None else None, environment, lease)


@dataclass(frozen=True, slots=True)
class ReloadOrder:
    """The body of `reload`: which profiles (none: all that are wanted), and whether to act."""

    names: tuple[str, ...] = ()
    dry_run: bool = False

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> ReloadOrder:
        """Check the body of a request.

        Raises:
            BadRequest: with what is wrong with it.
        """
        refuse_unknown(body, ("names", "dry_run"))
        names, dry_run = body.get("names") or [], body.get("dry_run", False)
        if not isinstance(names, list) or not all(
            isinstance(name, str) and is_profile_name(name) for name in names
        ):
            raise BadRequest("names must be a list of names of profiles")
        if not isinstance(dry_run, bool):
            raise BadRequest("dry_run must be true or false")
        return cls(tuple(dict.fromkeys(names)), dry_run)


def read_hosts(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The body of `restart`: the hosts that are meant; none: all of them.

    Raises:
        BadRequest: with what is wrong with it.
    """
    refuse_unknown(body, ("hosts",))
    hosts = body.get("hosts") or []
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise BadRequest("hosts must be a list of names of hosts")
    return tuple(hosts)


def read_drain(body: Mapping[str, Any]) -> float:
    """The body of `down`: seconds for connections to end.

    Raises:
        BadRequest: with what is wrong with it.
    """
    refuse_unknown(body, ("timeout",))
    drain = body.get("timeout", DRAIN)
    if not isinstance(drain, int | float) or not 0 <= drain <= _LONGEST_DRAIN:
        raise BadRequest(f"timeout must be seconds between 0 and {_LONGEST_DRAIN:g}")
    return drain


def read_lease(lease: object) -> str | None:
    """A lease that a command chose, or None.

    Raises:
        BadRequest: it is none.
    """
    if lease is not None and not (isinstance(lease, str) and _LEASE.fullmatch(lease)):
        raise BadRequest("a lease is 16 to 64 hexadecimal digits")
    return lease


def refuse_unknown(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raises BadRequest for a key that has no meaning."""
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise BadRequest(f"unknown key {unknown[0]!r} in the body")
