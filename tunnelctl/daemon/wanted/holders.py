"""Who holds each profile up: commands that stay attached, `up -d`, the daemon's command line.

Owns the bond between a command and its profiles: its lease lives as long as the connection it came
with, so that a command that was killed lets go like one that was stopped. Pure bookkeeping; must
never touch a profile itself: it says which ones nobody holds any more.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

from tunnelctl.state.holders import Held, Holder, HolderKind


class Holders:
    """The holders of every profile, and the leases that are open."""

    def __init__(self) -> None:
        self._leases: set[str] = set()
        self._of: defaultdict[str, set[Holder]] = defaultdict(set)
        self._numbers = itertools.count(1)

    @property
    def attached(self) -> int:
        """How many commands stay attached."""
        return len(self._leases)

    def open(self, lease: str) -> bool:
        """Begin a lease; False when it is open already."""
        if lease in self._leases:
            return False
        self._leases.add(lease)
        return True

    def is_open(self, lease: str) -> bool:
        """Whether the connection that came with it still stands."""
        return lease in self._leases

    def close(self, lease: str) -> tuple[str, ...]:
        """End a lease; the profiles that it has yet to let go."""
        self._leases.discard(lease)
        return tuple(
            sorted(name for name, of in self._of.items() if any(h.lease == lease for h in of))
        )

    def let_go(self, profile: str, lease: str) -> bool:
        """A command holds it no longer, nor does an order of its own that is under way; whether
        that was the last one."""
        ended = [holder for holder in self.of(profile) if holder.lease == lease]
        return any(self.end(profile, holder) for holder in ended)

    def of(self, profile: str) -> frozenset[Holder]:
        """Who holds the profile."""
        return frozenset(self._of.get(profile, ()))

    def held(self, profile: str) -> Held:
        """The same, as status shows it."""
        return Held.of(self.of(profile))

    def begin_order(self, profile: str, lease: str | None) -> Holder:
        """An `up` of the profile begins: nothing that ends meanwhile takes the profile from it, but
        the end of its own command."""
        holder = Holder(HolderKind.ORDER, lease or "", next(self._numbers))
        self.add(profile, holder)
        return holder

    def add(self, profile: str, holder: Holder) -> None:
        """One more holds it; nothing changes where it does already."""
        self._of[profile].add(holder)

    def end(self, profile: str, holder: Holder) -> bool:
        """One holds it no longer; whether that was the last one."""
        holders = self._of.get(profile, set())
        if holder not in holders:
            return False
        holders.discard(holder)
        if not holders:
            del self._of[profile]
        return not holders

    def clear(self, profile: str) -> frozenset[Holder]:
        """Nobody holds it any more, by order; who did."""
        return frozenset(self._of.pop(profile, ()))


def command(lease: str) -> Holder:
    """The holder that a command with this lease is."""
    return Holder(HolderKind.COMMAND, lease)
