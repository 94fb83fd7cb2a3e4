"""How many connection attempts and handshakes may be under way at once, over all profiles.

A server drops unauthenticated connections at random above a limit (sshd_config(5) MaxStartups,
default 10:30:100), so few are made to one address at a time. Over all addresses what works is
limited, not what waits for a server: a place is held for a moment, and then the next in line has
one, however slow the server is. So hosts that are silent hold up nobody else.
Owns the jump links that the profiles share: a hop's handshake waits for its turn like any other,
and nobody who has a turn waits for a hop or for a person. A login that was refused lately waits
until it may come again. Must never hold a link: the caller owns what `connect` returns.
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
from tunnelctl.spec.secret import SecretRef
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
# An attempt has a descriptor, and while a name is looked up a thread that nobody can end: more
# than these wait for one of them to be over.
ATTEMPTS = 256
# Seconds that a place among those at work is held at most. A handshake with a server that answers
# takes less, and one that takes longer mostly waits for its server.
MOMENT = 1.0

# As `tunnelctl.ssh.connect.connect`, which has keyword arguments that Callable cannot name.
ConnectFunction = Callable[..., Awaitable[Link]]
# An address means another server behind other hops.
_Place = tuple[tuple[Host, ...], str]


class Handshakes:
    """The queues before each handshake, one for a supervisor; first come, first served."""

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
        resolve_secret: Callable[[SecretRef], str],
        on_stage: Callable[[Stage], None],
        asking: PatientAsking,
        logins: Logins | None = None,
        warn: Warn = logged,
        on_silence: OnSilence = unheard,
    ) -> Link:
        """Connect to `host`, each handshake when it is its turn. The wait is no part of its
        `connect_timeout`; while `host` itself waits to be dialled its stage is QUEUED.

        A handshake that waits for a person, or for a program that has not spoken yet, gives its
        turn to others, for good: what was answered is used at once, since codes do not last.

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
        """The world changed: handshakes do not wait for what was begun in the old one."""
        self._moments.come()

    def _here(self, host: Host) -> asyncio.Semaphore:
        place = (host.proxy_jump, host.address)
        return self._places.setdefault(place, asyncio.Semaphore(AT_ONE_ADDRESS))


class _Turn:
    """What one attempt holds of the queues. A `TakenTurn`."""

    def __init__(self, at_work: asyncio.Semaphore, moment: float) -> None:
        self._held: list[asyncio.Semaphore] = []
        self._at_work = at_work
        self._moment = moment
        self._until: asyncio.TimerHandle | None = None  # a place among those at work is held
        self._is_over = False

    async def wait(self, *queues: asyncio.Semaphore) -> None:
        """Stand in one queue after the other."""
        for queue in queues:
            await queue.acquire()
            self._held.append(queue)

    async def work(self) -> None:
        """See TakenTurn. Who gave back has waited for a person, and goes on at once: codes do not
        last."""
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
