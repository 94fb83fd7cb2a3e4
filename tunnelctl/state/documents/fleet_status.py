"""The part of the status about the fleet, for one profile, as a frozen value.

Must never guess: each field is the last value that the store reported, and `store` says whether it
still answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from tunnelctl.quick_dataclass import dataclass


class Role(StrEnum):
    """The role of a machine for one profile."""

    HOLDER = "holder"
    STANDBY = "standby"
    ALONE = "alone"  # it serves, and does not know whether another machine does too


class Store(StrEnum):
    """Whether etcd answers with a quorum."""

    OK = "ok"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The fleet's part of one profile's status. `name` is that of the fleet, `machine` that of this
    machine. `holder` is the machine that holds the profile, `token` the revision of its key; both
    are None where nobody holds it, and the last known ones while the store is lost."""

    name: str
    machine: str
    role: Role
    holder: str | None
    token: int | None
    store: Store

    def as_json(self) -> dict[str, Any]:
        """The object under `fleet`."""
        return {
            "name": self.name,
            "machine": self.machine,
            "role": str(self.role),
            "holder": self.holder,
            "token": self.token,
            "store": str(self.store),
        }

    @classmethod
    def from_json(cls, fleet: Mapping[str, Any] | None) -> Self | None:
        """The value that `as_json` wrote, or None."""
        if fleet is None:
            return None
        return cls(
            fleet["name"],
            fleet["machine"],
            Role(fleet["role"]),
            fleet["holder"],
            fleet["token"],
            Store(fleet["store"]),
        )

    @property
    def is_served(self) -> bool:
        """Whether this machine or another is known to serve the profile."""
        is_standby = self.role is Role.STANDBY
        return not is_standby or (self.store is Store.OK and self.holder is not None)

    def __str__(self) -> str:
        """`standby (on m2)`, as `ps` shows it."""
        if self.role is not Role.STANDBY:
            return str(self.role)
        if self.store is Store.LOST:
            return "standby (store lost)"
        return f"standby (on {self.holder})" if self.holder else "standby (no holder)"
