"""The holders of each profile: attached commands, `up -d`, the daemon's command line.

Owns the leases. A command's lease lives as long as the connection that opened it, so a killed
command releases its profiles as one that exits does. Pure bookkeeping; must never touch a profile:
it reports which ones have no holder left.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

from tunnelctl.state.holders import Held, Holder, HolderKind


class Holders:
    """The holders of every profile, and the open leases."""

    def __init__(self) -> None:
        self._leases: set[str] = set()
        self._of: defaultdict[str, set[Holder]] = defaultdict(set)
        self._numbers = itertools.count(1)

    @property
    def attached(self) -> int:
        """The number of attached commands."""
        return len(self._leases)

    def open(self, lease: str) -> bool:
        """Open a lease; False if it is open already."""
        if lease in self._leases:
            return False
        self._leases.add(lease)
        return True

    def is_open(self, lease: str) -> bool:
        """Whether the connection of the lease is still open."""
        return lease in self._leases

    def close(self, lease: str) -> tuple[str, ...]:
        """End a lease; returns the profiles that it still holds."""
        self._leases.discard(lease)
        return tuple(
            sorted(name for name, of in self._of.items() if any(h.lease == lease for h in of))
        )

    def let_go(self, profile: str, lease: str) -> bool:
        """Remove the holders with this lease, including an order under way; returns whether none is
        left."""
        ended = [holder for holder in self.of(profile) if holder.lease == lease]
        return any(self.end(profile, holder) for holder in ended)

    def of(self, profile: str) -> frozenset[Holder]:
        """The holders of the profile."""
        return frozenset(self._of.get(profile, ()))

    def held(self, profile: str) -> Held:
        """The same, as status shows it."""
        return Held.of(self.of(profile))

    def begin_order(self, profile: str, lease: str | None) -> Holder:
        """An `up` of the profile begins. Until it ends it holds the profile, and only the end of
        its own command takes the profile away."""
        holder = Holder(HolderKind.ORDER, lease or "", next(self._numbers))
        self.add(profile, holder)
        return holder

    def add(self, profile: str, holder: Holder) -> None:
        """Add a holder; no effect if it holds the profile already."""
        self._of[profile].add(holder)

    def end(self, profile: str, holder: Holder) -> bool:
        """Remove a holder; returns whether it was the last one."""
        holders = self._of.get(profile, set())
        if holder not in holders:
            return False
        holders.discard(holder)
        if not holders:
            del self._of[profile]
        return not holders

    def clear(self, profile: str) -> frozenset[Holder]:
        """Remove all holders, by order; returns them."""
        return frozenset(self._of.pop(profile, ()))


def command(lease: str) -> Holder:
    """The holder for a command with this lease."""
    return Holder(HolderKind.COMMAND, lease)
