"""A listener that could not be opened: why, how often in a row, and when that is tried again.

Owns the timer. Must never open anything; whoever has the listener does when it is called back.
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
    """Of one forward. `again()` is called when it is to be tried again, after waits by `policy`."""

    def __init__(self, policy: Reconnect, again: Callable[[], None]) -> None:
        self._policy = policy
        self._again = again
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Failure | None = None
        self._count = 0
        self._retry_at: datetime | None = None

    @property
    def failure(self) -> Failure | None:
        """Why it does not listen; None while nothing says so."""
        return self._failure

    @property
    def count(self) -> int:
        """How many tries in a row failed."""
        return self._count

    @property
    def retry_at(self) -> datetime | None:
        """When it is tried again, if it waits for that."""
        return self._retry_at

    def failed(self, failure: Failure, *, is_wanted: bool, within: float = math.inf) -> None:
        """It could not be opened; tried again if that may help, and it `is_wanted` still: after at
        most `within` seconds."""
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
        """What it failed for says nothing of the next try."""
        self._failure = None

    def begin_anew(self) -> None:
        """The next wait is the first of a row."""
        self._count = 0

    def cancel(self) -> None:
        """Wait for no further try."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._retry_at = None

    def hasten(self) -> None:
        """What was in the way is gone: if it waits for the next try, that is now."""
        if self._timer is not None:
            self._due()

    def _due(self) -> None:
        self.cancel()
        self._again()
