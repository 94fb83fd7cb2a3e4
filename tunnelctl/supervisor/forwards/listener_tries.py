"""The attempts to open a listener: the last failure, their number, and the next one.

Owns the timer. Must never open anything; the owner of the listener does when it is called back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import datetime, timedelta

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.spec.host import Reconnect
from tunnelctl.state import backoff


class ListenerTries:
    """For one forward. `again()` is called for the next attempt, after delays by `policy`."""

    def __init__(self, policy: Reconnect, again: Callable[[], None]) -> None:
        self._policy = policy
        self._again = again
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Failure | None = None
        self._count = 0
        self._retry_at: datetime | None = None

    @property
    def failure(self) -> Failure | None:
        """Why it does not listen, or None."""
        return self._failure

    @property
    def count(self) -> int:
        """The number of failed attempts in a row."""
        return self._count

    @property
    def retry_at(self) -> datetime | None:
        """When it is tried again, or None."""
        return self._retry_at

    def failed(self, failure: Failure, *, is_wanted: bool, within: float = math.inf) -> None:
        """It could not be opened; it is tried again within `within` seconds if the failure may pass
        and it `is_wanted`."""
        self.cancel()
        self._failure = failure
        if failure.retryable and is_wanted:
            wait = min(within, backoff.ceiling(self._policy, self._count))
            self._timer = asyncio.get_running_loop().call_later(wait, self._due)
            self._retry_at = clock.wall() + timedelta(seconds=wait)
        self._count += 1

    def succeeded(self) -> None:
        """It listens."""
        self._failure, self._count = None, 0

    def forget_failure(self) -> None:
        """The cause of the last failure does not apply to the next attempt."""
        self._failure = None

    def begin_anew(self) -> None:
        """The next delay is the first of a row."""
        self._count = 0

    def cancel(self) -> None:
        """Cancel the next attempt."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._retry_at = None

    def hasten(self) -> None:
        """The obstacle is gone: if it waits for the next attempt, try now."""
        if self._timer is not None:
            self._due()

    def _due(self) -> None:
        self.cancel()
        self._again()
