"""Limits the connection attempts and handshakes under way at once, over all profiles.

A server drops unauthenticated connections at random above a limit (sshd_config(5) MaxStartups,
default 10:30:100), so only a few are made to one address at a time. Over all addresses the work is
limited, not the waiting for a server: a place is held for a limited time, and then passed on,
however slow the server is, so silent hosts delay nobody else. Owns the jump links that the profiles
share: the handshake of a hop is queued like any other, and a handshake that has a turn never waits
for a hop or a person. A login that was refused lately waits until it is allowed again. Must never
keep a link: the caller owns what `connect` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from weakref import WeakValueDictionary

from tunnelctl.errors import Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import ResolveSecret
from tunnelctl.ssh.connect import Stage
from tunnelctl.ssh.disruptions import Disruptions
from tunnelctl.ssh.keys.credentials import Logins
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.milestones import Warn, logged
from tunnelctl.ssh.questions import Ask
from tunnelctl.ssh.reach.jump import Hops
from tunnelctl.ssh.silence import OnSilence, unheard
from tunnelctl.ssh.turns import AT_ONE_ADDRESS, TakenTurn
from tunnelctl.supervisor.logins.question_desk import PatientAsking
from tunnelctl.supervisor.logins.refusals import Refusals

AT_WORK = 16
# An attempt has a file descriptor, and a thread during name resolution that cannot be cancelled;
# further attempts wait for one of these to end.
ATTEMPTS = 256
# Seconds that a place is held at most. A handshake with a server that answers takes less, and a
# longer one mostly waits for its server.
MOMENT = 1.0

# As `tunnelctl.ssh.connect.connect`, whose keyword arguments Callable cannot express.
ConnectFunction = Callable[..., Awaitable[Link]]
# Behind other hops, an address is another server.
_Place = tuple[tuple[Host, ...], str]


class Handshakes:
    """The queues for handshakes of one supervisor; first come, first served."""

    def __init__(
        self,
        reactor: Reactor,
        connect: ConnectFunction,
        refusals: Refusals | None = None,
        *,
        moment: float = MOMENT,
    ) -> None:
        self.refusals = refusals or Refusals()
        self._reactor = reactor
        self._connect = connect
        self._hops = Hops()
        self._moments = Disruptions()
        self._moment = moment
        self._attempts = asyncio.Semaphore(ATTEMPTS)
        self._at_work = asyncio.Semaphore(AT_WORK)
        # A semaphore lives as long as somebody holds or awaits it.
        self._places: WeakValueDictionary[_Place, asyncio.Semaphore] = WeakValueDictionary()

    async def connect(
        self,
        host: Host,
        environment: Environment,
        resolve_secret: ResolveSecret,
        on_stage: Callable[[Stage], None],
        asking: PatientAsking,
        logins: Logins | None = None,
        warn: Warn = logged,
        on_silence: OnSilence = unheard,
    ) -> Link:
        """Connect to `host`, each handshake in its turn. The wait does not count for its
        `connect_timeout`; while `host` itself waits to be dialled, its stage is QUEUED.

        A handshake that waits for a person, or for a program without output so far, gives up its
        turn permanently: an answer is used at once, because codes expire.

        Raises:
            Failure: as `tunnelctl.ssh.connect.connect`.
        """
        turns: dict[Host, _Turn] = {}

        @asynccontextmanager
        async def turn(one: Host) -> AsyncIterator[TakenTurn]:
            turns[one] = mine = _Turn(self._at_work, self._moment)
            queues = (*self.refusals.queue(one, environment), self._here(one), self._attempts)
            waits = one == host and any(queue.locked() for queue in queues)
            try:
                if waits:
                    on_stage(Stage.QUEUED)
                await mine.wait(*queues)
                self.refusals.check(one, environment)
                if waits:
                    on_stage(Stage.CONNECTING)
                try:
                    yield mine
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
            on_silence=on_silence,
            warn=warn,
        )

    def hurry(self) -> None:
        """The network changed: handshakes do not wait for those that began before the change."""
        self._moments.come()

    def _here(self, host: Host) -> asyncio.Semaphore:
        place = (host.proxy_jump, host.address)
        return self._places.setdefault(place, asyncio.Semaphore(AT_ONE_ADDRESS))


class _Turn:
    """The places that one attempt holds in the queues. A `TakenTurn`."""

    def __init__(self, at_work: asyncio.Semaphore, moment: float) -> None:
        self._held: list[asyncio.Semaphore] = []
        self._at_work = at_work
        self._moment = moment
        self._until: asyncio.TimerHandle | None = None  # ends the place among those at work
        self._is_over = False

    async def wait(self, *queues: asyncio.Semaphore) -> None:
        """Wait in one queue after the other."""
        for queue in queues:
            await queue.acquire()
            self._held.append(queue)

    async def work(self) -> None:
        """See TakenTurn. An attempt that gave up its turn has waited for a person and continues at
        once, because codes expire."""
        if self._is_over:
            return
        self._leave_work()
        await self._at_work.acquire()
        loop = asyncio.get_running_loop()
        self._until = loop.call_later(self._moment, self._leave_work)

    def give_back(self) -> None:
        """See TakenTurn."""
        self._is_over = True
        self._leave_work()
        while self._held:
            self._held.pop().release()

    def _leave_work(self) -> None:
        if self._until is not None:
            self._until.cancel()
            self._until = None
            self._at_work.release()
