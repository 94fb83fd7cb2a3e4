"""Documents of a daemon, as tests of what is shown vary them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tunnelctl.state.documents.snapshot import (
    DaemonStatus,
    ErrorStatus,
    ForwardState,
    ForwardStatus,
    HostState,
    HostStatus,
    ProfileState,
    ProfileStatus,
    Status,
    Wanted,
)

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
REFUSED = ErrorStatus("auth-failed", "no", "")


def host(**changes: Any) -> HostStatus:
    return replace(HostStatus("bastion", HostState.UP), **changes)


def forward(**changes: Any) -> ForwardStatus:
    rule = ForwardStatus(
        "db",
        "local",
        "127.0.0.1:5432",
        "db.internal:5432",
        "bastion",
        ForwardState.UP,
        since="2026-11-22T11:57:00.000Z",
        connections_open=2,
        connections_total=12,
        connections_failed=1,
        bytes_in=1_200_000,
        bytes_out=340_000,
    )
    return replace(rule, **changes)


def profile(
    hosts: Sequence[HostStatus], forwards: Sequence[ForwardStatus], **changes: Any
) -> ProfileStatus:
    one = ProfileStatus("dev", "dev.yaml", Wanted.UP, ProfileState.UP)
    return replace(one, hosts=tuple(hosts), forwards=tuple(forwards), **changes)


def status(*profiles: ProfileStatus) -> Status:
    daemon = DaemonStatus(1, "1.0.0", "2026-11-22T11:00:00.000Z")
    return Status(daemon, profiles)
