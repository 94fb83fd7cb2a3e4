"""The document of `fleet status`: machines, profiles and the store, as one machine sees them.

Pure. Must never guess: it is made from the last observation, and says whether the store still
answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tunnelctl.fleet.records import FleetView, RegisteredMachine
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.fleet_status import Store
from tunnelctl.state.documents.snapshot import ErrorStatus, error_json

if TYPE_CHECKING:  # it shows what this module makes
    from tunnelctl.fleet.holder import LeaseHolder


@dataclass(frozen=True, slots=True)
class FleetMachine:
    """A machine of the fleet, alive or dead within the last day. `round_trip_ms` is how long its
    store took to answer when it last reported; `profiles` are those that it holds, `differs` those
    whose file is not the one that counts."""

    name: str
    version: str
    address: str
    round_trip_ms: float | None
    profiles: tuple[str, ...]
    differs: tuple[str, ...]
    is_alive: bool = True

    def as_json(self) -> dict[str, Any]:
        """One element of `machines`."""
        return {
            "name": self.name,
            "alive": self.is_alive,
            "version": self.version,
            "address": self.address,
            "round_trip_ms": self.round_trip_ms,
            "profiles": list(self.profiles),
            "differs": list(self.differs),
        }


@dataclass(frozen=True, slots=True)
class FleetProfile:
    """A profile of the fleet. `since` is when its holder took it (RFC 3339, by its own clock);
    `candidates` are the machines that may take it, the next one first."""

    name: str
    holder: str | None
    token: int | None
    since: str | None
    candidates: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """One element of `profiles`."""
        return {
            "name": self.name,
            "holder": self.holder,
            "token": self.token,
            "since": self.since,
            "candidates": list(self.candidates),
        }


@dataclass(frozen=True, slots=True)
class StoreMember:
    """A member of etcd, as asked at `endpoint`; `error` is why it did not answer."""

    endpoint: str
    name: str | None
    version: str | None
    is_leader: bool
    error: str | None

    def as_json(self) -> dict[str, Any]:
        """One element of `members`."""
        return {
            "endpoint": self.endpoint,
            "name": self.name,
            "version": self.version,
            "leader": self.is_leader,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class FleetReport:
    """The document that `GET /v1/fleet` answers with. `round_trip_ms` is that of the last round;
    `error` is why the store is lost, or what it complains of."""

    name: str
    machine: str
    store: Store
    round_trip_ms: float | None
    members: tuple[StoreMember, ...]
    machines: tuple[FleetMachine, ...]
    profiles: tuple[FleetProfile, ...]
    error: ErrorStatus | None

    def as_json(self) -> dict[str, Any]:
        """The object under `fleet`."""
        return {
            "name": self.name,
            "machine": self.machine,
            "store": {
                "state": str(self.store),
                "quorum": self.store is Store.OK,
                "round_trip_ms": self.round_trip_ms,
                "members": [member.as_json() for member in self.members],
                "error": error_json(self.error),
            },
            "machines": [machine.as_json() for machine in self.machines],
            "profiles": [profile.as_json() for profile in self.profiles],
        }


def fleet_document(holder: LeaseHolder, members: tuple[StoreMember, ...]) -> FleetReport:
    """The document for the last view of a holder."""
    settings, view = holder.settings, holder.view
    failure = holder.trouble or holder.complaint
    names = sorted({*view.holdings, *(name for one in view.machines for name in one.digests)})
    profiles = []
    for name in names:
        held = view.holdings.get(name)
        machine, token, since = (held.machine, held.token, held.since) if held else (None,) * 3
        profiles.append(FleetProfile(name, machine, token, since, tuple(holder.candidates(name))))
    trip = holder.lease.round_trip
    return FleetReport(
        settings.fleet,
        settings.machine,
        Store.LOST if holder.trouble or not view.revision else Store.OK,
        None if trip is None else round(trip * 1000, 2),
        members,
        tuple(sorted(_machines(view), key=lambda machine: machine.name)),
        tuple(profiles),
        None if failure is None else ErrorStatus(**failure.as_dict()),
    )


def _machines(view: FleetView) -> Iterator[FleetMachine]:
    for one in view.machines:
        held = (name for name, key in view.holdings.items() if key.lease == one.lease)
        yield FleetMachine(
            one.name,
            one.version,
            one.address,
            one.round_trip_ms,
            tuple(sorted(held)),
            tuple(sorted(_differing(view, one))),
        )
    for one in view.dead:
        yield FleetMachine(one.name, one.version, one.address, None, (), (), is_alive=False)


def _differing(view: FleetView, machine: RegisteredMachine) -> Iterator[str]:
    """The profiles whose file on a machine is not that of the holder, or of the last one."""
    for name, digest in machine.digests.items():
        held, last = view.holdings.get(name), view.last.get(name)
        counts = held.digest if held is not None else last.digest if last is not None else digest
        if digest != counts:
            yield name
