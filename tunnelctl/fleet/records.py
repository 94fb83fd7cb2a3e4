"""The keys of a fleet in etcd, and their values.

    /tunnelctl/FLEET/PROFILE            the holder, under its lease; the revision is the token
    /tunnelctl/FLEET/.machines/LEASE    a live machine, under its lease
    /tunnelctl/FLEET/.known/MACHINE     a machine, which may have died, under a lease of a day
    /tunnelctl/FLEET/.files/PROFILE     the last holder and the digest of its file; without a lease
    /tunnelctl/FLEET/.released/PROFILE  its last holder gave it up, and had stopped serving before;
                                        without a lease, until the profile is taken

No name of a profile begins with a dot. Pure. Must never fail because of a value that another
version, or a person, wrote: what cannot be read counts as empty.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.candidates import LastHolder

_ROOT = "/tunnelctl/"
_MACHINES = ".machines/"
_KNOWN = ".known/"
_FILES = ".files/"
_RELEASED = ".released/"


@dataclass(frozen=True, slots=True)
class RegisteredMachine:
    """A machine, alive or dead. `digests` has that of the file of each profile for which it is a
    candidate."""

    name: str
    lease: int
    version: str = ""
    address: str = ""
    round_trip_ms: float | None = None
    digests: Mapping[str, str] = field(default_factory=dict)

    def value(self) -> bytes:
        """The value of its key."""
        return _dumped(
            machine=self.name,
            version=self.version,
            address=self.address,
            round_trip_ms=self.round_trip_ms,
            digests=dict(self.digests),
        )


@dataclass(frozen=True, slots=True)
class HeldKey:
    """The key of a profile that is held."""

    machine: str
    lease: int
    token: int
    digest: str = ""
    since: str | None = None


@dataclass(frozen=True, slots=True)
class FleetView:
    """The store as a transaction saw it, at `revision`. Machines are by lease: two may have the
    same name. `dead` are those that died within the last day, `released` the profiles that their
    last holder gave up."""

    revision: int
    holdings: Mapping[str, HeldKey] = field(default_factory=dict)
    machines: tuple[RegisteredMachine, ...] = ()
    dead: tuple[RegisteredMachine, ...] = ()
    last: Mapping[str, LastHolder] = field(default_factory=dict)
    released: frozenset[str] = frozenset()

    def digests(self, profile: str) -> dict[str, str]:
        """The digest of a profile's file on each candidate."""
        return {one.name: one.digests[profile] for one in self.machines if profile in one.digests}


class Keys:
    """The keys of one fleet."""

    def __init__(self, fleet: str) -> None:
        self.prefix = f"{_ROOT}{fleet}/"

    def profile(self, name: str) -> str:
        """The key of a profile's holder."""
        return self.prefix + name

    def file(self, name: str) -> str:
        """The key of the last holder of a profile."""
        return f"{self.prefix}{_FILES}{name}"

    def released(self, name: str) -> str:
        """The key that says that the last holder of a profile gave it up."""
        return f"{self.prefix}{_RELEASED}{name}"

    def machine(self, lease: int) -> str:
        """The key of the machine with this lease."""
        return f"{self.prefix}{_MACHINES}{lease:x}"

    def known(self, machine: str) -> str:
        """The key of a machine that outlives it."""
        return f"{self.prefix}{_KNOWN}{machine}"

    def view(self, revision: int, found: list[dict[str, Any]]) -> FleetView:
        """From the answer to a range over the prefix."""
        holdings: dict[str, HeldKey] = {}
        machines: list[RegisteredMachine] = []
        known: list[RegisteredMachine] = []
        last: dict[str, LastHolder] = {}
        released: set[str] = set()
        for kv in found:
            name = text_of(kv["key"]).removeprefix(self.prefix)
            value, lease = _value(kv), int(kv.get("lease", 0))
            if name.startswith(_MACHINES):
                machines.append(_machine(value, lease))
            elif name.startswith(_KNOWN):
                known.append(_machine(value, lease))
            elif name.startswith(_FILES):
                one = LastHolder(_text(value, "machine"), _text(value, "digest"))
                last[name.removeprefix(_FILES)] = one
            elif name.startswith(_RELEASED):
                released.add(name.removeprefix(_RELEASED))
            else:
                holdings[name] = holding_of(kv)
        alive = {machine.name for machine in machines}
        dead = tuple(machine for machine in known if machine.name not in alive)
        return FleetView(revision, holdings, tuple(machines), dead, last, frozenset(released))

    def is_news(self, view: FleetView, events: Iterable[Mapping[str, Any]]) -> bool:
        """Whether one of these events of a watch changes more of a view than a round trip, which
        each machine reports every minute: if all others looked at once then, the requests to etcd
        would grow with the square of the machines."""
        return any(self._changes(view, event) for event in events)

    def _changes(self, view: FleetView, event: Mapping[str, Any]) -> bool:
        kv = event.get("kv", {})
        name = text_of(kv.get("key", "")).removeprefix(self.prefix)
        if name.startswith(_KNOWN):
            return False  # a machine that lives has another key too
        if not name.startswith(_MACHINES) or event.get("type") == "DELETE":
            return True
        machine = _machine(_value(kv), int(kv.get("lease", 0)))
        return not any(
            replace(one, round_trip_ms=machine.round_trip_ms) == machine for one in view.machines
        )


def holding_of(kv: Mapping[str, Any]) -> HeldKey:
    """The holder that a profile's key names."""
    value = _value(kv)
    return HeldKey(
        _text(value, "machine"),
        int(kv.get("lease", 0)),
        int(kv["create_revision"]),
        _text(value, "digest"),
        _text(value, "since") or None,
    )


def holding_value(machine: str, address: str, digest: str, since: str) -> bytes:
    """The value of a profile's key."""
    return _dumped(machine=machine, address=address, digest=digest, since=since)


def last_value(machine: str, digest: str) -> bytes:
    """The value of the key of a profile's last holder."""
    return _dumped(machine=machine, digest=digest)


def encoded(key: str | bytes) -> str:
    """A key or value as etcd's JSON has it: base64."""
    return base64.b64encode(key.encode() if isinstance(key, str) else key).decode()


def range_end(prefix: str) -> bytes:
    """The first key after those with this prefix."""
    raw = prefix.encode()
    return raw[:-1] + bytes([raw[-1] + 1])


def text_of(encoded_key: str) -> str:
    """The text of an encoded key."""
    return base64.b64decode(encoded_key).decode(errors="replace")


def _machine(value: Mapping[str, Any], lease: int) -> RegisteredMachine:
    digests = value.get("digests")
    digests = digests if isinstance(digests, dict) else {}
    trip = value.get("round_trip_ms")
    return RegisteredMachine(
        _text(value, "machine"),
        lease,
        _text(value, "version"),
        _text(value, "address"),
        float(trip) if isinstance(trip, int | float) else None,
        {name: digest for name, digest in digests.items() if isinstance(digest, str)},
    )


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) and found.isprintable() else ""


def _value(kv: Mapping[str, Any]) -> dict[str, Any]:
    try:
        value = json.loads(base64.b64decode(kv.get("value", "")))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _dumped(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
