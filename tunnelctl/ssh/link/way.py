"""The carrier of a link's socket if that is not plain TCP: a jump host, or a program.

A link only tells its way when it ends, and asks it for the cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tunnelctl.errors import Failure


class Way(Protocol):
    """Belongs to one link, and ends with it."""

    def explain(self, failure: Failure) -> Failure:
        """The cause of the end of a link: the way's own failure if that caused `failure`."""

    @property
    def has_failed(self) -> bool:
        """Whether the way itself is lost, so that the end of the stream says nothing about the
        peer."""

    def when_known(self, then: Callable[[], None]) -> None:
        """The stream has ended. Call `then` once `has_failed` is decided: now, or soon."""

    def close(self) -> None:
        """Begin to end it. Idempotent."""

    async def wait_closed(self) -> None:
        """Wait until it has ended, after `close`."""


class _Direct:
    """Nothing in between."""

    def explain(self, failure: Failure) -> Failure:
        return failure

    @property
    def has_failed(self) -> bool:
        return False

    def when_known(self, then: Callable[[], None]) -> None:
        then()

    def close(self) -> None:
        """Nothing to close."""

    async def wait_closed(self) -> None:
        """Nothing to wait for."""


DIRECT = _Direct()
