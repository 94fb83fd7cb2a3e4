"""Each change becomes one event for the subscribers and one log record.

Must never wait for a slow subscriber, nor keep more than a bounded number of events for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Self

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.state.documents.fleet_status import FleetStatus
from tunnelctl.state.documents.snapshot import ErrorStatus, HostState
from tunnelctl.state.documents.status_events import EventKind, StatusEvent

_log = logging.getLogger("tunnelctl")
# The hosts of a large profile may lose their server at the same time, each with all its forwards.
EVENTS_HELD = 10_000


class Subscription:
    """An asynchronous iterator over events from now on; ends after `close`.

    A reader that falls behind loses the oldest events; `lost` counts them.
    """

    def __init__(self, journal: Journal) -> None:
        self.lost = 0
        self.on_close: Callable[[Subscription], None] | None = None
        self._journal = journal
        self._held: deque[StatusEvent] = deque()
        self._woken = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """Add no further events; those that are kept can still be read. Idempotent."""
        self._closed = True
        self._journal.forget(self)
        if self.on_close is not None:
            self.on_close(self)
        self._woken.set()

    def put(self, event: StatusEvent) -> None:
        """For the journal: keep an event until it is read."""
        if len(self._held) == EVENTS_HELD:
            self._held.popleft()
            self.lost += 1
        self._held.append(event)
        self._woken.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StatusEvent:
        while not self._held:
            if self._closed:
                raise StopAsyncIteration
            self._woken.clear()
            await self._woken.wait()
        return self._held.popleft()


class Journal:
    """The place where every change is reported, once."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        # What the fleet says about a profile, for its events.
        self.fleet_of: Callable[[str], FleetStatus | None] = lambda profile: None

    def subscribe(self) -> Subscription:
        """Every event from now on."""
        subscription = Subscription(self)
        self._subscriptions.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Remove the subscription."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription."""
        for subscription in tuple(self._subscriptions):
            subscription.close()

    def record(
        self,
        kind: EventKind,
        profile: str,
        name: str,
        state: str,
        message: str,
        failure: Failure | None = None,
        remark: str | None = "",
    ) -> StatusEvent:
        """Report that the part of that kind and name is now in `state`, and why. Returns the event.

        The log adds the `remark`; with None, only subscribers get the event.
        """
        at = clock.rfc3339(clock.wall())
        error = error_status(failure)
        fleet = self.fleet_of(profile) if kind is EventKind.PROFILE else None
        event = StatusEvent(at, kind, profile, name, state, message, error, fleet)
        if remark is not None:
            subject = f"{profile}/{name}" if name else profile
            text = f"{kind} {subject} {state}" + (f": {message}" if message else "") + remark
            _log.log(_level(event), "%s", text, extra={"event": event})
        for subscription in self._subscriptions:
            subscription.put(event)
        return event


def error_status(failure: Failure | None) -> ErrorStatus | None:
    """A failure as status shows it."""
    return None if failure is None else ErrorStatus(**failure.as_dict())


def _level(event: StatusEvent) -> int:
    if event.error is None:
        return logging.INFO
    lasting = event.state == HostState.FAILED and event.kind is not EventKind.CONNECTION
    return logging.ERROR if lasting else logging.WARNING
