"""The turns that connection attempts take at limited resources.

Owns the types that `connect` and the limiter share. Connecting, and waiting for the first byte of a
server, costs almost nothing and is not limited; what costs CPU time (key exchange, login, starting
a program) is. Must never count anything itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from tunnelctl.spec.host import Host

# Attempts at one address at once: a server drops logins at random above sshd_config(5) MaxStartups,
# 10 by default.
AT_ONE_ADDRESS = 4


class TakenTurn(Protocol):
    """The places that one host holds, from its connection to the end of its login."""

    async def work(self) -> None:
        """Wait for a place to work. It may be lost to others after a moment, so call it again
        before the next piece of work."""

    def give_back(self) -> None:
        """Give the places to others permanently, because something takes its time. Idempotent."""


# The turn of a host's own attempt; its hops have their own turns.
Turn = Callable[[Host], AbstractAsyncContextManager[TakenTurn]]


class _Free:
    """For attempts without a limit."""

    async def work(self) -> None:
        """At once."""

    def give_back(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def at_once(_host: Host) -> AsyncIterator[TakenTurn]:
    """A turn without a wait."""
    yield _Free()
