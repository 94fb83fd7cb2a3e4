"""The tables of `fleet`: profiles, machines, and the members of etcd.

Pure. The rows are elements of the document of `GET /v1/fleet` (docs/api.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tunnelctl.view.columns import Column, Table
from tunnelctl.view.texts import NOTHING, milliseconds_text

Element = Mapping[str, Any]


def _next(profile: Element) -> str:
    """The machine that takes the profile if its holder fails."""
    others = (name for name in profile["candidates"] if name != profile["holder"])
    return next(others, NOTHING)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or NOTHING


def _status(member: Element) -> str:
    role = "leader" if member["leader"] else "follower"
    if member["error"] is None:
        return role
    return f"{role}, {member['error']}" if member["name"] else str(member["error"])


PROFILES: Table[Element] = Table(
    (
        Column("PROFILE", lambda profile: profile["name"]),
        Column("HOLDER", lambda profile: profile["holder"] or NOTHING),
        Column("TOKEN", lambda profile: str(profile["token"] or NOTHING)),
        Column("SINCE", lambda profile: profile["since"] or NOTHING),
        Column("NEXT", _next),
    )
)
MACHINES: Table[Element] = Table(
    (
        Column("MACHINE", lambda machine: machine["name"]),
        Column("STATUS", lambda machine: "alive" if machine["alive"] else "not alive"),
        Column("VERSION", lambda machine: machine["version"] or NOTHING),
        Column("ADDRESS", lambda machine: machine["address"] or NOTHING),
        Column("STORE", lambda machine: milliseconds_text(machine["round_trip_ms"])),
        Column("HOLDS", lambda machine: _listed(machine["profiles"])),
        Column("DIFFERS", lambda machine: _listed(machine["differs"])),
    )
)
MEMBERS: Table[Element] = Table(
    (
        Column("ETCD", lambda member: member["endpoint"]),
        Column("MEMBER", lambda member: member["name"] or NOTHING),
        Column("VERSION", lambda member: member["version"] or NOTHING),
        Column("STATUS", _status),
    )
)
