"""Which profiles go down when the command that brought them up ends.

Owns the bond between an attached `up` and its profiles: a lease lives as long as the connection it
came with, so that a command that was killed takes its profiles down like one that was stopped.
Pure bookkeeping; must never touch a profile itself.
"""

from __future__ import annotations


class Leases:
    """Open leases, and the profiles that each holds up."""

    def __init__(self) -> None:
        self._held: dict[str, set[str]] = {}

    @property
    def count(self) -> int:
        """How many commands stay attached."""
        return len(self._held)

    def open(self, lease: str) -> bool:
        """Begin a lease; False when it is open already."""
        if lease in self._held:
            return False
        self._held[lease] = set()
        return True

    def is_open(self, lease: str) -> bool:
        """Whether the connection that came with it still stands."""
        return lease in self._held

    def hold(self, lease: str, profile: str) -> None:
        """The profile goes down with the lease, which must be open."""
        self.keep(profile)
        self._held[lease].add(profile)

    def holds(self, lease: str, profile: str) -> bool:
        """Whether it is this lease that holds the profile."""
        return profile in self._held.get(lease, ())

    def keep(self, profile: str) -> None:
        """No lease holds the profile any more."""
        for profiles in self._held.values():
            profiles.discard(profile)

    def close(self, lease: str) -> tuple[str, ...]:
        """End a lease; the profiles that must go down now."""
        return tuple(sorted(self._held.pop(lease, ())))
