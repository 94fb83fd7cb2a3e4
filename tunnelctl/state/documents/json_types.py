"""The status document and events as types of plain JSON, for callers in Python (docs/api.md).

Owns the names and types that a type checker knows; a test holds them to what snapshot.py and
status_events.py write. Times are RFC 3339 in UTC, durations and sizes are in the unit of their
name.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class ErrorDocument(TypedDict):
    """The reason for an unwanted state: a stable `code`, and two sentences for people."""

    code: str
    message: str
    hint: str


class LinkDocument(TypedDict):
    """One link to a host."""

    address: str
    cipher: str
    rtt_ms: float | None
    channels: int


class HostDocument(TypedDict):
    """One host of a profile."""

    name: str
    state: str
    address: str | None
    since: str | None
    attempts: int
    reconnects: int
    next_retry_at: str | None
    rtt_ms: float | None
    cipher: str | None
    mac: str | None
    kex: str | None
    host_key: str | None
    strict_kex: bool | None
    server: str | None
    fallback: str | None
    returning: bool
    queued: bool
    ends_unused: bool
    said: list[str] | None
    links: list[LinkDocument]
    last_error: ErrorDocument | None


class ConnectionCounts(TypedDict):
    """The connections of a forward: open now, accepted so far, failed so far."""

    open: int
    total: int
    failed: int


class ForwardDocument(TypedDict):
    """One forward of a profile."""

    name: str
    type: str
    listen: str
    target: str | None
    via: str
    state: str
    bound: bool
    since: str | None
    health: str
    health_reason: str | None
    health_since: str | None
    attempts: int
    next_retry_at: str | None
    connections: ConnectionCounts
    bytes_in: int
    bytes_out: int
    labels: dict[str, str]
    inspect: str | None
    last_error: ErrorDocument | None


class HoldersDocument(TypedDict):
    """A holder that keeps a profile up."""

    detached: bool
    service: bool
    commands: int


class FleetDocument(TypedDict):
    """The role of a machine of a fleet for a profile, and the holder."""

    name: str
    machine: str
    role: str
    holder: str | None
    token: int | None
    store: str


class ProfileDocument(TypedDict):
    """One profile: an element of `profiles` in the status document. `fleet` is there only in a
    daemon that belongs to one."""

    name: str
    source: str
    wanted: str
    wanted_since: str | None
    holders: HoldersDocument
    state: str
    since: str | None
    last_error: ErrorDocument | None
    hosts: list[HostDocument]
    forwards: list[ForwardDocument]
    fleet: NotRequired[FleetDocument]


class DaemonDocument(TypedDict):
    """The daemon that answered."""

    pid: int
    version: str
    started_at: str
    warnings: list[str]


class VersionDocument(TypedDict):
    """What the daemon is, and the number of commands that hold profiles (`attached`)."""

    api_version: int
    version: str
    compiled: bool
    pid: int
    background: bool
    attached: int


class StatusDocument(TypedDict):
    """The whole status document."""

    api_version: int
    daemon: DaemonDocument
    profiles: list[ProfileDocument]


class EventDocument(TypedDict):
    """One change of a profile (`name` is empty), a host or a forward."""

    at: str
    kind: str
    profile: str
    name: str
    state: str
    message: str
    error: ErrorDocument | None


class ProcessDocument(TypedDict):
    """The process of a client on this machine, as far as it is known."""

    pid: int | None
    name: str
    user: str


class ConnectionDocument(TypedDict):
    """One connection through a forward. Rates are in bytes a second; `until`, `how` and `reset_by`
    are None while it lives."""

    id: str
    profile: str
    forward: str
    client: str
    process: ProcessDocument | None
    target: str | None
    host: str
    link: int | None
    since: str
    bytes_in: int
    bytes_out: int
    rate_in: float
    rate_out: float
    state: str
    until: str | None
    how: str | None
    reset_by: str | None
    error: ErrorDocument | None


class ConnectionsDocument(TypedDict):
    """The living connections, and the last that ended."""

    api_version: int
    connections: list[ConnectionDocument]
    ended: list[ConnectionDocument]


class LogLineDocument(TypedDict):
    """One line of the daemon's log."""

    at: str
    level: str
    profile: str
    name: str
    message: str


class ChangeDocument(TypedDict):
    """The effect of a reload on one host or forward."""

    kind: str
    name: str
    action: str


class ReloadDocument(TypedDict):
    """The effect of a reload on one profile; `starts`: it was wanted, and unreadable before."""

    name: str
    starts: bool
    changes: list[ChangeDocument]
