"""How many handshakes may be under way at once, over all profiles.

A server drops unauthenticated connections at random above a limit (sshd_config(5) MaxStartups,
default 10:30:100), and each handshake keeps a thread of ours busy. Owns the jump links that the
profiles share: a hop's handshake waits for its turn like any other, and nobody who has a turn waits
for a hop or for a person. A login that was refused lately waits until it may come again. Must never
hold a link: the caller owns what `connect` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from weakref import WeakValueDictionary

from tunnelctl.errors import Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host, SecretRef
from tunnelctl.ssh.connect import Stage
from tunnelctl.ssh.credentials import Logins
from tunnelctl.ssh.jump import Hops
from tunnelctl.ssh.link import Link
from tunnelctl.ssh.moments import Moments
from tunnelctl.ssh.questions import Ask
from tunnelctl.supervisor.questions import PatientAsking
from tunnelctl.supervisor.refusals import Refusals

AT_ONE_ADDRESS = 4
IN_ALL = 16

# As `tunnelctl.ssh.connect.connect`, which has keyword arguments that Callable cannot name.
ConnectFunction = Callable[..., Awaitable[Link]]
# An address means another server behind other hops.
_Place = tuple[tuple[Host, ...], str]


class Handshakes:
    """The queue before each handshake, one for a supervisor; first come, first served."""

    def __init__(
        self, reactor: Reactor, connect: ConnectFunction, refusals: Refusals | None = None
    ) -> None:
        self.refusals = refusals or Refusals()
        self._reactor = reactor
        self._connect = connect
        self._hops = Hops()
        self._moments = Moments()
        self._all = asyncio.Semaphore(IN_ALL)
        # A semaphore lives as long as somebody holds or awaits it.
        self._places: WeakValueDictionary[_Place, asyncio.Semaphore] = WeakValueDictionary()

    async def connect(
        self,
        host: Host,
        environment: Environment,
        resolve_secret: Callable[[SecretRef], str],
        on_stage: Callable[[Stage], None],
        asking: PatientAsking,
        logins: Logins | None = None,
    ) -> Link:
        """Connect to `host`, each handshake when it is its turn. The wait is no part of its
        `connect_timeout`.

        A handshake that waits for a person, or for a program that has not spoken yet, gives its
        turn to others, for good: what was answered is used at once, since codes do not last.

        Raises:
            Failure: as `tunnelctl.ssh.connect.connect`.
        """
        turns: dict[Host, _Turn] = {}

        @asynccontextmanager
        async def turn(one: Host) -> AsyncIterator[Callable[[], None]]:
            turns[one] = mine = _Turn()
            try:
                await mine.wait(*self.refusals.queue(one, environment), self._here(one), self._all)
                self.refusals.check(one, environment)
                try:
                    yield mine.give_back
                except Failure as failure:
                    raise self.refusals.noted(one, environment, failure) from None
                self.refusals.passed(one, environment)
            finally:
                mine.give_back()

        def login(one: Host) -> AbstractContextManager[Ask | None]:
            return asking(one, turns[one].give_back)

        return await self._connect(
            host,
            self._reactor,
            environment=environment,
            resolve_secret=resolve_secret,
            on_stage=on_stage,
            asking=login,
            hops=self._hops,
            turn=turn,
            logins=logins,
            moments=self._moments,
        )

    def hurry(self) -> None:
        """The world changed: handshakes do not wait for what was begun in the old one."""
        self._moments.come()

    def _here(self, host: Host) -> asyncio.Semaphore:
        place = (host.proxy_jump, host.address)
        return self._places.setdefault(place, asyncio.Semaphore(AT_ONE_ADDRESS))


class _Turn:
    """What one handshake holds of the queues."""

    def __init__(self) -> None:
        self._held: list[asyncio.Semaphore] = []

    async def wait(self, *queues: asyncio.Semaphore) -> None:
        """Stand in one queue after the other."""
        for queue in queues:
            await queue.acquire()
            self._held.append(queue)

    def give_back(self) -> None:
        """Let the next ones go on. Idempotent."""
        while self._held:
            self._held.pop().release()
