"""The status document (docs/api.md) as frozen values: the one thing that every face reads.

Must never guess: each field is what its owner said last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tunnelctl.errors import Code, Failure
from tunnelctl.state.histogram import NONE_YET, Histogram
from tunnelctl.state.holders import NOBODY, Held

API_VERSION = 1
# How the message of an event begins that is a line of a server's session.
SAYS = "the server says: "


class HostState(StrEnum):
    """What the link to one host is doing."""

    IDLE = "idle"
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    UP = "up"
    BACKOFF = "backoff"
    NEEDS_INPUT = "needs-input"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


# Types of forwards whose clients come here, and to the server.
LISTENS_HERE = frozenset({"local", "dynamic"})
LISTENS_THERE = frozenset({"remote", "remote_dynamic"})
# Only a person, or another file, changes these.
FAILED_FOR_GOOD = frozenset({HostState.FAILED, HostState.NEEDS_INPUT})


class ForwardState(StrEnum):
    """Whether a forward's listener listens."""

    PENDING = "pending"
    UP = "up"
    FAILED = "failed"
    STOPPED = "stopped"


class Health(StrEnum):
    """What the target answered when it was asked last."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class ProfileState(StrEnum):
    """`up` means every host is up and every required forward listens."""

    STARTING = "starting"
    UP = "up"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Wanted(StrEnum):
    """What the user asked for, whatever became of it."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """A failure as status shows it."""

    code: str
    message: str
    hint: str

    def as_json(self) -> dict[str, Any]:
        """The object under `last_error`."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One link to a host: its round trip time in milliseconds, and its open channels."""

    address: str
    cipher: str
    rtt_ms: float | None
    channels: int

    def as_json(self) -> dict[str, Any]:
        """One element of `links`."""
        return {
            "address": self.address,
            "cipher": self.cipher,
            "rtt_ms": self.rtt_ms,
            "channels": self.channels,
        }


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One host. `since` and `next_retry_at` are RFC 3339.

    While a fallback serves, `fallback` names it, `last_error` says why the host itself does not,
    and `next_retry_at` when that is tried again; `returning`: it is just now. `queued`: it is to
    be connected to, and waits until others have been. `ends_unused`: its server ends links that
    carry nothing, as `last_error` says where nothing else is wrong. `said` has the last lines of
    the server's session; None where there is no session. `connects` is how long it took to make
    each link. `links` are the links that are up, the one of the other fields first.
    """

    name: str
    state: HostState
    address: str | None = None
    since: str | None = None
    attempts: int = 0
    reconnects: int = 0
    next_retry_at: str | None = None
    rtt_ms: float | None = None
    cipher: str | None = None
    mac: str | None = None
    kex: str | None = None
    host_key: str | None = None
    strict_kex: bool | None = None
    server: str | None = None
    fallback: str | None = None
    returning: bool = False
    queued: bool = False
    ends_unused: bool = False
    last_error: ErrorStatus | None = None
    said: tuple[str, ...] | None = None
    connects: Histogram = NONE_YET
    links: tuple[LinkStatus, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """One element of `hosts`."""
        return {
            "name": self.name,
            "state": str(self.state),
            "address": self.address,
            "since": self.since,
            "attempts": self.attempts,
            "reconnects": self.reconnects,
            "next_retry_at": self.next_retry_at,
            "rtt_ms": self.rtt_ms,
            "cipher": self.cipher,
            "mac": self.mac,
            "kex": self.kex,
            "host_key": self.host_key,
            "strict_kex": self.strict_kex,
            "server": self.server,
            "fallback": self.fallback,
            "returning": self.returning,
            "queued": self.queued,
            "ends_unused": self.ends_unused,
            "said": None if self.said is None else list(self.said),
            "links": [link.as_json() for link in self.links],
            "last_error": _error(self.last_error),
        }


@dataclass(frozen=True, slots=True)
class ForwardStatus:
    """One forward. `bytes_out` went to the target; `bytes_in` came back from it. `since` is that of
    its state, `health_since` that of its health (RFC 3339); `health_reason` is why that is unknown,
    None where it is known. `bound`: it listens, also while its
    host is away.

    `attempts` is how often in a row its listener could not be had, and `next_retry_at` (RFC 3339)
    when that is tried again. `failures` are the failed connections by their code.
    """

    name: str
    type: str
    listen: str
    target: str | None
    via: str
    state: ForwardState
    bound: bool = False
    since: str | None = None
    health: Health = Health.UNKNOWN
    health_reason: str | None = None
    health_since: str | None = None
    attempts: int = 0
    next_retry_at: str | None = None
    connections_open: int = 0
    connections_total: int = 0
    connections_failed: int = 0
    failures: tuple[tuple[str, int], ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    last_error: ErrorStatus | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """One element of `forwards`."""
        return {
            "name": self.name,
            "type": self.type,
            "listen": self.listen,
            "target": self.target,
            "via": self.via,
            "state": str(self.state),
            "bound": self.bound,
            "since": self.since,
            "health": str(self.health),
            "health_reason": self.health_reason,
            "health_since": self.health_since,
            "attempts": self.attempts,
            "next_retry_at": self.next_retry_at,
            "connections": {
                "open": self.connections_open,
                "total": self.connections_total,
                "failed": self.connections_failed,
            },
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "labels": dict(self.labels),
            "last_error": _error(self.last_error),
        }


@dataclass(frozen=True, slots=True)
class ProfileStatus:
    """One profile with its hosts and forwards. `since` is that of its state, `wanted_since` that of
    what is wanted (RFC 3339).

    `last_error` is why its file is not what runs: it could not be loaded, or not loaded again.
    `holders` are those for whom it is up.
    """

    name: str
    source: str
    wanted: Wanted
    state: ProfileState
    since: str | None = None
    wanted_since: str | None = None
    hosts: tuple[HostStatus, ...] = ()
    forwards: tuple[ForwardStatus, ...] = ()
    last_error: ErrorStatus | None = None
    holders: Held = NOBODY

    def as_json(self) -> dict[str, Any]:
        """One element of `profiles`."""
        return {
            "name": self.name,
            "source": self.source,
            "wanted": str(self.wanted),
            "wanted_since": self.wanted_since,
            "holders": self.holders.as_json(),
            "state": str(self.state),
            "since": self.since,
            "last_error": _error(self.last_error),
            "hosts": [host.as_json() for host in self.hosts],
            "forwards": [forward.as_json() for forward in self.forwards],
        }


class EventKind(StrEnum):
    """What a line of `events` is about."""

    PROFILE = "profile"
    HOST = "host"
    FORWARD = "forward"
    HEALTH = "health"
    CONNECTION = "connection"
    QUESTION = "question"  # for whoever answers


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """One change, as `events`, `logs` and the attached `up` show it. `at` is RFC 3339."""

    at: str
    kind: EventKind
    profile: str
    name: str  # of the host or forward; empty for the profile itself
    state: str
    message: str
    error: ErrorStatus | None = None

    def as_json(self) -> dict[str, Any]:
        """The data of one server-sent event."""
        return {
            "at": self.at,
            "kind": str(self.kind),
            "profile": self.profile,
            "name": self.name,
            "state": self.state,
            "message": self.message,
            "error": _error(self.error),
        }


def _error(error: ErrorStatus | None) -> dict[str, Any] | None:
    return None if error is None else error.as_json()


def error_of(part: Mapping[str, Any]) -> Failure:
    """The `last_error` of a host or forward of the document, read again: its exit code included,
    which the side that listens decides as well."""
    error = part["last_error"]
    code = Code(error["code"]) if error["code"] in set(Code) else Code.NOT_UP
    exit_code = None
    if code is Code.PORT_IN_USE and part.get("type") in LISTENS_THERE:
        exit_code = Code.FORWARD_DENIED.exit_code  # it is the server's port
    if code is Code.NAME_NOT_FOUND and part.get("type") in LISTENS_HERE:
        exit_code = Code.PORT_IN_USE.exit_code  # of the listener: its host's name, or its folder
    return Failure(code, error["message"], error["hint"], exit_code=exit_code)
