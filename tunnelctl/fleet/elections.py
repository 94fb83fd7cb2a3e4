"""The elections of this machine's profiles, and the deadline of those that it holds.

Owns the state of each election, which changes in `handle` alone. Must never serve past a deadline:
the reactor looks at it first in every turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from tunnelctl import clock
from tunnelctl.fleet.file import FleetSettings, OnStoreLoss
from tunnelctl.net.reactor import Reactor
from tunnelctl.state.election import (
    Action,
    Cut,
    Deadline,
    Election,
    ElectionState,
    Event,
    Look,
    Release,
    Serve,
    Take,
    next_state,
)

_TICK = 0.5  # seconds between two looks at the deadline while nothing else happens


class Owner(Protocol):
    """The daemon."""

    def serve(self, profile: str) -> None:
        """Begin to bring a profile up."""

    def cut(self, profile: str) -> None:
        """Close the listeners and reset the links of a profile before this returns."""

    def changed(self, profile: str) -> None:
        """The fleet's part of the status of a profile has changed."""


class Elections:
    """By profile. `request` carries out what concerns the store, `handled` is called after each
    event."""

    def __init__(
        self,
        settings: FleetSettings,
        reactor: Reactor,
        owner: Owner,
        request: Callable[[str, Take | Release | Look], None],
        handled: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._owner = owner
        self._request = request
        self._handled = handled
        self._of: dict[str, Election] = {}
        self._held: dict[str, float] = {}  # until when each may be served
        self._tick: asyncio.TimerHandle | None = None

    def get(self, profile: str) -> Election | None:
        """The election of a profile; None if it was never wanted."""
        return self._of.get(profile)

    def __getitem__(self, profile: str) -> Election:
        return self._of[profile]

    @property
    def names(self) -> tuple[str, ...]:
        """The profiles."""
        return tuple(self._of)

    @property
    def holds_any(self) -> bool:
        """Whether a deadline comes nearer."""
        return bool(self._held)

    def add(self, profile: str) -> None:
        """Add a profile, which is not wanted yet; no effect if it is known."""
        keep = self._settings.on_store_loss is OnStoreLoss.KEEP
        self._of.setdefault(profile, Election(self._settings.machine, self._settings.lease, keep))

    def handle(self, profile: str, event: Event) -> None:
        """The only place where an election changes."""
        election, actions = next_state(self._of[profile], event, clock.boottime())
        self._of[profile] = election
        self._held.pop(profile, None)
        if election.state is ElectionState.HOLDING:
            self._held[profile] = election.until
        for action in actions:
            self._act(profile, action)
        self._watch_deadline()
        self._handled(profile)

    def handle_all(self, event: Event) -> None:
        """The event concerns every profile."""
        for profile in self.names:
            self.handle(profile, event)

    def lose_all(self) -> None:
        """The lease has ended: nothing is held any more."""
        for profile in tuple(self._held):
            self.handle(profile, Deadline())

    def close(self) -> None:
        """Watch no deadline any more; nothing must be held."""
        self._reactor.limit(None)
        if self._tick is not None:
            self._tick.cancel()

    def _act(self, profile: str, action: Action) -> None:
        match action:
            case Cut():
                self._owner.cut(profile)
            case Serve():
                self._owner.serve(profile)
            case Take() | Release() | Look():
                self._request(profile, action)

    def _watch_deadline(self) -> None:
        if not self._held:
            self._reactor.limit(None)
            return
        self._reactor.limit(self._expire, min(self._held.values()))
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_TICK, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        """A turn of the reactor needs an event; this is one, also after the machine was
        suspended."""
        self._tick = None
        self._expire()
        self._watch_deadline()

    def _expire(self) -> None:
        now = clock.boottime()
        for profile, until in tuple(self._held.items()):
            if now >= until:
                self.handle(profile, Deadline())
