"""What a connection attempt waits for before it takes part in what is limited.

Owns the words that `connect` and who limits it have in common. To dial, and to wait for the first
byte of a server, costs nearly nothing and is done by as many as like; what costs processor time
(key exchange, login, a program that starts) has places. Must never count anything by itself.
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
    """What one host holds of that which is limited, from its dial to the end of its login."""

    async def work(self) -> None:
        """Wait for a place among those that work. It may be lost to others after a moment, so ask
        again before the next piece of work."""

    def give_back(self) -> None:
        """Let others go on, for good: something takes its time. Idempotent."""


# What a host's own attempt waits for; its hops have their own turns.
Turn = Callable[[Host], AbstractAsyncContextManager[TakenTurn]]


class _Free:
    """For those who need not wait."""

    async def work(self) -> None:
        """At once."""

    def give_back(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def at_once(_host: Host) -> AsyncIterator[TakenTurn]:
    """A turn that nobody waits for."""
    yield _Free()
