"""The status document (docs/api.md) as frozen values, which every face reads.

Must never guess: each field is the last value that its owner reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from tunnelctl.errors import Code, Failure
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.api_version import API_VERSION
from tunnelctl.state.documents.fleet_status import FleetStatus
from tunnelctl.state.documents.histogram import NONE_YET, Histogram
from tunnelctl.state.holders import NOBODY, Held


class HostState(StrEnum):
    """The state of the link to one host."""

    IDLE = "idle"
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    UP = "up"
    BACKOFF = "backoff"
    NEEDS_INPUT = "needs-input"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


# Types of forwards that listen on this machine, and on the server.
LISTENS_HERE = frozenset({"local", "dynamic"})
LISTENS_THERE = frozenset({"remote", "remote_dynamic"})
# States that only a person, or a changed file, ends.
FAILED_FOR_GOOD = frozenset({HostState.FAILED, HostState.NEEDS_INPUT})


class ForwardState(StrEnum):
    """Whether the listener of a forward listens."""

    PENDING = "pending"
    UP = "up"
    FAILED = "failed"
    STOPPED = "stopped"


class Health(StrEnum):
    """The result of the last probes of the target."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class ProfileState(StrEnum):
    """`up` means every host is up and every required forward listens."""

    STARTING = "starting"
    STANDBY = "standby"  # another machine of the fleet runs it
    UP = "up"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Wanted(StrEnum):
    """The state that the user asked for."""

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

    @classmethod
    def from_json(cls, error: Mapping[str, Any] | None) -> Self | None:
        """The value that `as_json` wrote, or None."""
        return None if error is None else cls(error["code"], error["message"], error["hint"])

    def __str__(self) -> str:
        """The message, and the hint in brackets."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


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

    @classmethod
    def from_json(cls, link: Mapping[str, Any]) -> Self:
        """The value that `as_json` wrote."""
        return cls(link["address"], link["cipher"], link["rtt_ms"], link["channels"])


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One host. `since` and `next_retry_at` are RFC 3339.

    While a fallback serves, `fallback` is its name, `last_error` is why the host itself does not
    serve, and `next_retry_at` is when it is tried again; `returning`: it is being tried now.
    `queued`: it waits until other hosts have connected. `ends_unused`: its server ends unused
    links; `last_error` says so if nothing else is wrong. `said` has the last lines of the server's
    session, or is None without a session. `connects` is how long each link took to make. `links`
    are the links that are up; the first is the one that the other fields describe.
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
            "last_error": error_json(self.last_error),
        }

    @classmethod
    def from_json(cls, host: Mapping[str, Any]) -> Self:
        """The value that `as_json` wrote. Fields that an earlier version does not have get their
        defaults."""
        said = host.get("said")
        return cls(
            name=host["name"],
            state=HostState(host["state"]),
            address=host["address"],
            since=host["since"],
            attempts=host["attempts"],
            reconnects=host["reconnects"],
            next_retry_at=host["next_retry_at"],
            rtt_ms=host["rtt_ms"],
            cipher=host["cipher"],
            mac=host.get("mac"),
            kex=host["kex"],
            host_key=host.get("host_key"),
            strict_kex=host.get("strict_kex"),
            server=host["server"],
            fallback=host.get("fallback"),
            returning=host.get("returning", False),
            queued=host.get("queued", False),
            ends_unused=host.get("ends_unused", False),
            said=None if said is None else tuple(said),
            links=tuple(map(LinkStatus.from_json, host.get("links", ()))),
            last_error=ErrorStatus.from_json(host["last_error"]),
        )


@dataclass(frozen=True, slots=True)
class ForwardStatus:
    """One forward. `bytes_out` went to the target, `bytes_in` came back. `since` is when its state
    began, `health_since` when its health did (RFC 3339); `health_reason` is why the health is
    unknown, or None. `bound`: it listens, also while its host is down.

    `attempts` counts failed attempts to listen in a row, and `next_retry_at` (RFC 3339) is when the
    next one is due. `failures` counts failed connections by code. `inspect` is that key of the
    profile, or None.
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
    inspect: str | None = None

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
            "inspect": self.inspect,
            "last_error": error_json(self.last_error),
        }

    @classmethod
    def from_json(cls, forward: Mapping[str, Any]) -> Self:
        """As `HostStatus.from_json`."""
        connections = forward["connections"]
        return cls(
            name=forward["name"],
            type=forward["type"],
            listen=forward["listen"],
            target=forward["target"],
            via=forward["via"],
            state=ForwardState(forward["state"]),
            bound=forward.get("bound", False),
            since=forward.get("since"),
            health=Health(forward["health"]),
            health_reason=forward.get("health_reason"),
            health_since=forward.get("health_since"),
            attempts=forward.get("attempts", 0),
            next_retry_at=forward.get("next_retry_at"),
            connections_open=connections["open"],
            connections_total=connections["total"],
            connections_failed=connections["failed"],
            bytes_in=forward["bytes_in"],
            bytes_out=forward["bytes_out"],
            labels=tuple(forward.get("labels", {}).items()),
            inspect=forward.get("inspect"),
            last_error=ErrorStatus.from_json(forward["last_error"]),
        )


@dataclass(frozen=True, slots=True)
class ProfileStatus:
    """One profile with its hosts and forwards. `since` is when its state began, `wanted_since` when
    the user last asked for a change (RFC 3339).

    `last_error` is why its file is not what runs: the file could not be loaded or reloaded.
    `fleet` is what this machine is for it, or None without a fleet.
    `holders` hold the profile up. `leased`: whether the lease in the request holds it; None if the
    request has none.
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
    leased: bool | None = None
    fleet: FleetStatus | None = None

    def as_json(self) -> dict[str, Any]:
        """One element of `profiles`."""
        leased = {} if self.leased is None else {"leased": self.leased}
        fleet = {} if self.fleet is None else {"fleet": self.fleet.as_json()}
        return {
            "name": self.name,
            "source": self.source,
            "wanted": str(self.wanted),
            "wanted_since": self.wanted_since,
            "holders": self.holders.as_json(),
            "state": str(self.state),
            "since": self.since,
            "last_error": error_json(self.last_error),
            "hosts": [host.as_json() for host in self.hosts],
            "forwards": [forward.as_json() for forward in self.forwards],
            **fleet,
            **leased,
        }

    @classmethod
    def from_json(cls, profile: Mapping[str, Any]) -> Self:
        """As `HostStatus.from_json`."""
        return cls(
            name=profile["name"],
            source=profile["source"],
            wanted=Wanted(profile["wanted"]),
            state=ProfileState(profile["state"]),
            since=profile.get("since"),
            wanted_since=profile.get("wanted_since"),
            hosts=tuple(map(HostStatus.from_json, profile["hosts"])),
            forwards=tuple(map(ForwardStatus.from_json, profile["forwards"])),
            last_error=ErrorStatus.from_json(profile.get("last_error")),
            holders=Held.from_json(profile["holders"]) if "holders" in profile else NOBODY,
            leased=profile.get("leased"),
            fleet=FleetStatus.from_json(profile.get("fleet")),
        )

    @property
    def parts(self) -> tuple[HostStatus | ForwardStatus, ...]:
        """Its hosts, then its forwards."""
        return (*self.hosts, *self.forwards)


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The process that answers. `warnings` are problems of the daemon itself, one line each."""

    pid: int
    version: str
    started_at: str
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """`daemon` of the status document."""
        return {
            "pid": self.pid,
            "version": self.version,
            "started_at": self.started_at,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, daemon: Mapping[str, Any]) -> Self:
        """As `HostStatus.from_json`."""
        warnings = tuple(daemon.get("warnings", ()))
        return cls(daemon["pid"], daemon["version"], daemon["started_at"], warnings)


@dataclass(frozen=True, slots=True)
class Status:
    """The whole document."""

    daemon: DaemonStatus
    profiles: tuple[ProfileStatus, ...]

    def as_json(self) -> dict[str, Any]:
        """The document that `GET /v1/status` answers with."""
        return {
            "api_version": API_VERSION,
            "daemon": self.daemon.as_json(),
            "profiles": [profile.as_json() for profile in self.profiles],
        }


def from_json(document: Mapping[str, Any]) -> Status:
    """The document that `Status.as_json` wrote.

    Raises:
        ValueError: a daemon of another version sent something that this version does not know.
    """
    try:
        daemon = DaemonStatus.from_json(document["daemon"])
        return Status(daemon, tuple(map(ProfileStatus.from_json, document["profiles"])))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a status document of tunnelctl: {error!r}") from None


def error_json(error: ErrorStatus | None) -> dict[str, Any] | None:
    return None if error is None else error.as_json()


def error_of(part: ProfileStatus | HostStatus | ForwardStatus) -> Failure:
    """The `last_error` of a part as a Failure, with the exit code for the side that listens."""
    error = part.last_error
    assert error is not None
    code = Code(error.code) if error.code in set(Code) else Code.NOT_UP
    exit_code = None
    if isinstance(part, ForwardStatus):
        if code is Code.PORT_IN_USE and part.type in LISTENS_THERE:
            exit_code = Code.FORWARD_DENIED.exit_code  # it is the server's port
        if code is Code.NAME_NOT_FOUND and part.type in LISTENS_HERE:
            exit_code = Code.PORT_IN_USE.exit_code  # of the listener: its host's name, or folder
    return Failure(code, error.message, error.hint, exit_code=exit_code)
