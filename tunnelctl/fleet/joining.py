"""Until when other machines are expected to join, so that the one that starts first does not take
every profile (`state/election.py`).

Owns when this machine first saw each of the others. Must never ask for patience once all of those
that are known have joined.
"""

from __future__ import annotations

from tunnelctl.fleet.records import FleetView
from tunnelctl.state.election import JOINING


class Joining:
    """As seen by the machine of this name; times are seconds of CLOCK_BOOTTIME."""

    def __init__(self, machine: str, lease: float) -> None:
        self._machine = machine
        self._patience = lease * JOINING
        self._began: float | None = None
        self._joined: dict[int, float] = {}  # by lease

    def saw(self, view: FleetView, now: float) -> None:
        """The store has these machines now."""
        self._began = now if self._began is None else self._began
        leases = (machine.lease for machine in view.machines)
        self._joined = {lease: self._joined.get(lease, now) for lease in leases}

    def until(self, profile: str, view: FleetView) -> float:
        """Until when others are expected for a profile; 0 if none is."""
        missing = (machine for machine in view.dead if machine.name != self._machine)
        if self._began is None or (profile in view.last and not any(missing)):
            return 0.0
        return max((self._began, *self._joined.values())) + self._patience
