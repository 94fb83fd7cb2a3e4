"""The bodies of requests, checked.

Owns the rules for a valid request. Must never guess the meaning of an invalid one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunnelctl.config.profile.find import is_profile_name
from tunnelctl.daemon import sentences
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.drain import DRAIN
from tunnelctl.spec.environment import Environment

_LONGEST_DRAIN = 3600.0
_LONGEST_TTL = 10 * 366 * 86400.0
_LEASE = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True, slots=True)
class UpOrder:
    """The body of `up`: the profile's file, the caller's environment, and the lease that holds it.

    `replace`: also if a profile of this name from another file is up. `ttl`: the hold ends after so
    many seconds.
    """

    file: Path | None = None
    environment: Environment | None = None
    lease: str | None = None
    replace: bool = False
    ttl: float | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> UpOrder:
        """Check the body of a request.

        Raises:
            Failure: USAGE, it is invalid.
        """
        refuse_unknown(body, ("file", "environment", "lease", "replace", "ttl"))
        file = _file(body)
        replace, ttl = body.get("replace", False), body.get("ttl")
        if not isinstance(replace, bool):
            raise sentences.not_a_boolean("replace")
        if ttl is not None and not (_is_number(ttl) and 0 < ttl <= _LONGEST_TTL):
            raise sentences.not_a_ttl(_LONGEST_TTL)
        environment, lease = _environment(body), read_lease(body.get("lease"))
        return cls(file, environment, lease, replace, ttl)


@dataclass(frozen=True, slots=True)
class CheckOrder:
    """The body of `check`: the file and the name of each profile, and the caller's environment."""

    files: tuple[tuple[Path, str | None], ...]
    environment: Environment | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> CheckOrder:
        """Check the body of a request.

        Raises:
            Failure: USAGE, it is invalid.
        """
        refuse_unknown(body, ("profiles", "environment"))
        profiles = body.get("profiles")
        if not isinstance(profiles, list) or not profiles:
            raise sentences.not_files_and_names()
        files = []
        for profile in profiles:
            if not isinstance(profile, dict):
                raise sentences.not_files_and_names()
            refuse_unknown(profile, ("file", "name"))
            file, name = _file(profile), profile.get("name")
            if file is None or not (name is None or isinstance(name, str)):
                raise sentences.not_files_and_names()
            files.append((file, name))
        return cls(tuple(files), _environment(body))


@dataclass(frozen=True, slots=True)
class ReloadOrder:
    """The body of `reload`: the profiles (none: all that are wanted), and whether it is a dry
    run."""

    names: tuple[str, ...] = ()
    dry_run: bool = False
    environment: Environment | None = None

    def without(self, names: Collection[str]) -> ReloadOrder:
        """The same without these profiles; at least one must be left of those that are named."""
        return replace(self, names=tuple(name for name in self.names if name not in names))

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> ReloadOrder:
        """Check the body of a request.

        Raises:
            Failure: USAGE, it is invalid.
        """
        refuse_unknown(body, ("names", "dry_run", "environment"))
        names, dry_run = body.get("names") or [], body.get("dry_run", False)
        if not isinstance(names, list) or not all(
            isinstance(name, str) and is_profile_name(name) for name in names
        ):
            raise sentences.not_profile_names()
        if not isinstance(dry_run, bool):
            raise sentences.not_a_boolean("dry_run")
        return cls(tuple(dict.fromkeys(names)), dry_run, _environment(body))


@dataclass(frozen=True, slots=True)
class RestartOrder:
    """The body of `restart`: the hosts (none: all), and the caller's environment."""

    hosts: tuple[str, ...] = ()
    environment: Environment | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> RestartOrder:
        """Check the body of a request.

        Raises:
            Failure: USAGE, it is invalid.
        """
        refuse_unknown(body, ("hosts", "environment"))
        hosts = body.get("hosts") or []
        if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
            raise sentences.not_host_names()
        return cls(tuple(hosts), _environment(body))


def read_environment(body: Mapping[str, Any]) -> Environment:
    """The body of `environment`: only that of the caller.

    Raises:
        Failure: USAGE, it is invalid.
    """
    refuse_unknown(body, ("environment",))
    environment = _environment(body)
    if environment is None:
        raise sentences.required("environment")
    return environment


def read_drain(body: Mapping[str, Any]) -> float:
    """The body of `down`: seconds for connections to end.

    Raises:
        Failure: USAGE, it is invalid.
    """
    refuse_unknown(body, ("timeout",))
    return _drain(body)


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """The body of `release`: the lease, and seconds for connections to end."""

    lease: str
    drain: float

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> ReleaseOrder:
        """Check the body of a request.

        Raises:
            Failure: USAGE, it is invalid.
        """
        refuse_unknown(body, ("lease", "timeout"))
        lease = read_lease(body.get("lease"))
        if lease is None:
            raise sentences.required("lease")
        return cls(lease, _drain(body))


def _file(body: Mapping[str, Any]) -> Path | None:
    """The path of a profile; None if it is not sent."""
    file = body.get("file")
    if file is None:
        return None
    if not (isinstance(file, str) and file.startswith("/")):
        raise sentences.not_an_absolute_path()
    if "\0" in file:
        raise sentences.contains_nul("file")
    return Path(file)


def _drain(body: Mapping[str, Any]) -> float:
    drain = body.get("timeout", DRAIN)
    if not (_is_number(drain) and 0 <= drain <= _LONGEST_DRAIN):
        raise sentences.not_a_drain(_LONGEST_DRAIN)
    return float(drain)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _environment(body: Mapping[str, Any]) -> Environment | None:
    """All variables of the caller; None if they are not sent. null is a variable that is not set.
    No message repeats one: a value may be a secret, and a value may have been sent as a name."""
    sent = body.get("environment")
    if sent is None:
        return None
    if not isinstance(sent, dict) or not all(
        value is None or isinstance(value, str) for value in sent.values()
    ):
        raise sentences.not_an_environment()
    environment = Environment({n: value for n, value in sent.items() if value is not None})
    try:
        raw = environment.to_bytes()
    except UnicodeEncodeError:
        raise sentences.environment_not_text() from None
    if any(b"\0" in text for text in (*raw, *raw.values())):
        raise sentences.contains_nul("environment")
    if any(not name or b"=" in name for name in raw):
        raise sentences.not_a_variable_name()
    return environment


def read_lease(lease: object) -> str | None:
    """The lease that a command chose, or None.

    Raises:
        Failure: USAGE, it is none.
    """
    if lease is not None and not (isinstance(lease, str) and _LEASE.fullmatch(lease)):
        raise sentences.not_a_lease()
    return lease


def refuse_unknown(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raises `Failure` (USAGE) for an unknown key."""
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise sentences.unknown_key(unknown[0], "body")
