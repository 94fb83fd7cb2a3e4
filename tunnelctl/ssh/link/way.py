"""What a link's socket leads over, when that is not plain TCP: a jump host, or a program.

A link never asks what carries it; it only tells its way when it ends, and asks it for the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tunnelctl.errors import Failure


class Way(Protocol):
    """Belongs to one link, and ends with it."""

    def explain(self, failure: Failure) -> Failure:
        """Why the link really ended: the way's own failure where that is the cause of `failure`."""

    @property
    def has_failed(self) -> bool:
        """Whether the way itself is lost, so that the end of the stream is no word of the peer."""

    def when_known(self, then: Callable[[], None]) -> None:
        """The stream has ended. Call `then` once `has_failed` tells why: now, or in a moment."""

    def close(self) -> None:
        """Begin to end it, at once. Idempotent."""

    async def wait_closed(self) -> None:
        """Wait until nothing of it is left, after `close`."""


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
