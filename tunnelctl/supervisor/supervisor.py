"""All profiles of this user, and the single interface to them: up, down, restart, status, events.

Owns the running profiles, each with a queue of orders that are carried out in the order of the
calls, so that the last one counts. Runs on one event loop. Must never start or stop what nobody
asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from random import Random

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.forward.client_connections import Connections
from tunnelctl.inspect.inspector import Inspection, Inspector
from tunnelctl.inspect.replay import Replay, ReplayAnswer
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.threads import shielded
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.profile import HostAnew, Profile
from tunnelctl.ssh.connect import connect
from tunnelctl.state import backoff
from tunnelctl.state.documents.connection_status import ConnectionList
from tunnelctl.state.documents.exchange import Headers, HttpExchange
from tunnelctl.state.documents.fleet_status import FleetStatus
from tunnelctl.state.documents.snapshot import ProfileState, ProfileStatus, Wanted
from tunnelctl.state.documents.status_events import EventKind
from tunnelctl.state.profile.plan import Plan, diff
from tunnelctl.supervisor import sentences
from tunnelctl.supervisor.forwards.local_forwarding import LocalForwarding
from tunnelctl.supervisor.forwards.socket_files import SocketFiles
from tunnelctl.supervisor.hooks import HookRunner
from tunnelctl.supervisor.journal import Journal, Subscription
from tunnelctl.supervisor.logins.handshakes import ConnectFunction, Handshakes
from tunnelctl.supervisor.logins.question_desk import AnswerScope, Questions
from tunnelctl.supervisor.logins.refusals import Refusals
from tunnelctl.supervisor.records.connection_list import (
    ConnectionStatuses,
    Served,
    WantedConnections,
)
from tunnelctl.supervisor.records.sampler import RoundTripTo, Sampler, Samples
from tunnelctl.supervisor.running import RunningProfile
from tunnelctl.supervisor.services import Services
from tunnelctl.supervisor.tasks import Tasks

_log = logging.getLogger("tunnelctl")


class Supervisor:
    """`connect` makes the links; `random` spreads the retries; `spacing` are the seconds between
    refused logins. Tests replace them."""

    def __init__(
        self,
        reactor: Reactor,
        *,
        connect: ConnectFunction = connect,
        random: Random | None = None,
        spacing: Sequence[float] = backoff.SPACING,
    ) -> None:
        self._journal = Journal()
        random = random or Random()  # noqa: S311 - spreads retries, guards nothing
        self._questions = Questions(self._answerable)
        handshakes = Handshakes(reactor, connect, Refusals(random, spacing))
        self._inspector = Inspector(reactor.loop)
        self._services = Services(
            reactor, self._journal, handshakes, random, self._questions, self._inspector
        )
        self.held = self._services.held  # the ports that servers hold for us, or for lost sessions
        self._hooks = HookRunner()
        self._profiles: dict[str, RunningProfile] = {}  # in order of start
        # The queues: a lock is fair.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._commands = Tasks("supervisor")
        self._socket_files = SocketFiles(self._unix_listeners)
        self._connections = ConnectionStatuses(self._services.log, self._served)
        self._sampler = Sampler(self._measured, self._round_trips)
        self._closing: asyncio.Task[None] | None = None
        self._cuts: Counter[str] = Counter()  # of each profile

    def up(
        self, profile: Profile, environment: Environment, anew: HostAnew | None = None
    ) -> Awaitable[None]:
        """Make `profile` run; if it runs already, only the differences are applied.

        This call puts the order into the profile's queue. The returned future ends when the order
        is applied, which is before the profile is up. What failed permanently is tried again.
        Forwards that are gone or changed are closed at once. `environment` is used from now on for
        programs, secrets and agents. `anew` returns a host as ssh_config describes it at the next
        attempt; None: as in `profile`.

        Raises:
            Failure: daemon-not-running when the supervisor is closing.
        """
        cuts = self._cuts[profile.name]
        return self._commands.whole(
            self._up(profile, environment, anew, cuts=cuts), f"up {profile.name}"
        )

    def change(
        self, profile: Profile, environment: Environment, anew: HostAnew | None = None
    ) -> Awaitable[None]:
        """As `up`, for a profile that is still wanted; one that was taken down meanwhile stays
        down.

        Raises:
            Failure: daemon-not-running when the supervisor is closing.
        """
        return self._commands.whole(
            self._up(profile, environment, anew, only_wanted=True), f"change {profile.name}"
        )

    def plan(self, profile: Profile) -> Plan | None:
        """The changes that `up` would make; None if no profile of that name is wanted."""
        running = self._profiles.get(profile.name)
        if running is None or running.wanted is Wanted.DOWN:
            return None
        return diff(running.profile, profile)

    async def _up(
        self,
        profile: Profile,
        environment: Environment,
        anew: HostAnew | None,
        *,
        only_wanted: bool = False,
        cuts: int | None = None,
    ) -> None:
        async with self._turns[profile.name]:
            self._check_open(profile.name)
            running = self._profiles.get(profile.name)
            if running is not None and running.wanted is Wanted.UP:
                await running.apply(profile, environment, anew)
                return
            if only_wanted:
                return
            running = RunningProfile(profile, environment, self._services, self._hooks, anew)
            await running.fill()
            self._check_open(profile.name)
            if cuts is not None and cuts != self._cuts[profile.name]:
                return
            self._profiles.pop(profile.name, None)  # in order of start
            self._profiles[profile.name] = running
            running.start()
            self._sampler.start()

    def _check_open(self, name: str) -> None:
        if self._closing is not None:
            raise sentences.shutting_down(name)

    def down(self, name: str, drain: float) -> Awaitable[None]:
        """Close a profile; connections have `drain` seconds to end. Idempotent.

        This call puts the order into the profile's queue. The profile stays listed as stopped. If
        it is stopping already, it has no more than `drain` seconds left from now.

        Raises:
            Failure: profile-not-found.
        """
        return self._commands.whole(self._stop(name, drain), f"down {name}")

    def cut(self, name: str) -> None:
        """Close the listeners of a profile and reset its connections and links before this returns;
        `down` does the rest. An `up` that is in its queue has no effect."""
        self._cuts[name] += 1
        running = self._profiles.get(name)
        if running is not None:
            running.cut()

    async def restart(self, name: str, hosts: Collection[str] = ()) -> None:
        """Close every link of a profile, or those to `hosts`, and reconnect now; local ports stay
        bound.

        Raises:
            Failure: profile-not-found, also for a host that it has not, or not-up when it is not
                wanted up.
        """
        running = self._known(name)
        if running.wanted is Wanted.DOWN:
            raise sentences.profile_down(name)
        running.restart(hosts)

    def hear(self, name: str, environment: Environment) -> None:
        """Use this environment for what is started for a profile from now on; see
        RunningProfile."""
        running = self._profiles.get(name)
        if running is not None and running.wanted is Wanted.UP:
            running.hear(environment)

    def hurry(self, reason: str) -> None:
        """The network changed, the system resumed, or a signal came: waiting hosts connect now,
        links are probed."""
        _log.info("%s: reconnecting and probing links now", reason)
        for running in self._profiles.values():
            if running.wanted is Wanted.UP:
                running.hurry()
        self._services.handshakes.hurry()

    async def reach(self, name: str, forward: str, seconds: float) -> None:
        """Probe the target of one forward once, over its link.

        Raises:
            Failure: why it cannot within `seconds`, profile-not-found, or not-up without a link.
        """
        await self._known(name).reach(forward, seconds)

    def inspection(self, name: str, forward: str) -> Inspection:
        """The inspection of one forward.

        Raises:
            Failure: profile-not-found, not-up, or usage, it is not inspected.
        """
        return self._known(name).inspection(forward)

    async def replay(
        self, name: str, forward: str, exchange: HttpExchange, headers: Headers
    ) -> ReplayAnswer:
        """Send a request of a forward to its target again, with the user's `headers`.

        Raises:
            Failure: it cannot be sent, or is not answered.
        """
        return await self._known(name).replay(forward, Replay(exchange, headers))

    async def look(self) -> None:
        """Check that clients can find every unix socket; those that were removed are bound again.

        Called before `status`, so that `up` is true. A file system that hangs delays it no longer
        than a caller waits.
        """
        await self._socket_files.look()

    def status(self) -> tuple[ProfileStatus, ...]:
        """Every profile that was up since the start, in order of start."""
        return tuple(running.status() for running in self._profiles.values())

    def status_of(self, name: str) -> ProfileStatus | None:
        """One profile; None if it was never up."""
        running = self._profiles.get(name)
        return None if running is None else running.status()

    async def connections(self, wanted: WantedConnections) -> ConnectionList:
        """The open connections, and the last that ended; see ConnectionStatuses."""
        return await self._connections.look(wanted)

    def close_connection(self, number: str) -> None:
        """Reset one connection, by its id in the list.

        Raises:
            Failure: connection-not-found, also when it has ended.
        """
        if not self._connections.close(number):
            raise sentences.no_such_connection(number)

    def samples(self, profile: str | None = None) -> Samples:
        """Ten minutes of traffic and round trips, of one profile or of all."""
        return self._sampler.samples(profile)

    def join_fleet(
        self,
        names: Collection[str],
        fleet_of: Callable[[str], FleetStatus | None],
        *,
        evicts: bool = False,
    ) -> None:
        """These profiles are run by one machine of a fleet at a time; `fleet_of` returns what their
        events say about it. `evicts`: the session of an earlier holder is ended on the server."""
        self._journal.fleet_of = self._services.eviction.fleet_of = fleet_of
        self._services.eviction.is_on = evicts
        self.held.taken_over = frozenset(names)

    def remark(self, name: str, state: ProfileState, message: str, failure: Failure | None) -> None:
        """Report something about a profile that does not affect how it runs."""
        self._journal.record(EventKind.PROFILE, name, "", state, message, failure)

    def subscribe(
        self, answers: Collection[AnswerScope] = (), *, orders: bool = False
    ) -> Subscription:
        """Every change from now on; ends when the subscription or the supervisor closes.

        A subscriber that `answers` for hosts also gets their questions, open ones first. Hosts that
        need input are tried again now, or by the order if the subscriber `orders` them up next.
        """
        subscription = self._journal.subscribe()
        if answers:
            self._questions.listen(subscription, answers, orders=orders)
        return subscription

    def answer(
        self, profile: str, question: str, answer: str | None, *, remember: bool = False
    ) -> None:
        """ReplayAnswer a question by its id; None refuses. `remember`: keep the answer while this
        supervisor lives.

        Raises:
            Failure: needs-input when it is not open, usage for what is no answer.
        """
        self._questions.answer(profile, question, answer, remember=remember)

    async def close(self, deadline: float) -> None:
        """Close every profile, the last started first, within `deadline` seconds.

        Connections are reset; call `down` first to let them drain. What is stuck at the deadline is
        logged and abandoned. Idempotent: a second call waits for the first.
        """
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(
                self._close(deadline), name="close all profiles"
            )
        await shielded(self._closing)

    async def _close(self, deadline: float) -> None:
        until = clock.monotonic() + deadline
        stops = {
            asyncio.ensure_future(self._stop(name, 0)): name for name in reversed(self._profiles)
        }
        if stops:
            _, stuck = await asyncio.wait(stops, timeout=deadline)
            for stop in stuck:
                names = ", ".join(self._profiles[stops[stop]].abort())
                _log.error(
                    "profile %s did not close within %g s; stuck: %s", stops[stop], deadline, names
                )
                stop.cancel()
            for result in await asyncio.gather(*stops, return_exceptions=True):
                if isinstance(result, Exception):
                    _log.error("a profile did not close", exc_info=result)
        self._sampler.close()
        await self._hooks.close(until - clock.monotonic())
        await self._inspector.close()
        self._journal.close()

    def _served(self) -> Iterator[Served]:
        for running in tuple(self._profiles.values()):
            yield from running.connections()

    def _measured(self) -> Iterator[Connections]:
        for running in self._wanted():
            yield from (connections for connections, _ in running.connections())

    def _round_trips(self) -> Iterator[RoundTripTo]:
        for running in self._wanted():
            yield from running.round_trips()

    def _wanted(self) -> Iterator[RunningProfile]:
        return (one for one in self._profiles.values() if one.wanted is Wanted.UP)

    def _unix_listeners(self) -> list[LocalForwarding]:
        return [item for running in self._profiles.values() for item in running.unix_listeners()]

    def _answerable(self, place: AnswerScope) -> None:
        running = self._profiles.get(place.profile)
        if running is not None and running.wanted is Wanted.UP:
            running.answerable(place)

    async def _stop(self, name: str, drain: float) -> None:
        running = self._profiles.get(name)
        if running is not None and running.wanted is Wanted.DOWN:
            # Not in the queue: waiting for it here would let a later `up` go first.
            self._commands.spawn(running.hasten(drain), f"hasten {name}")
        async with self._turns[name]:
            await self._known(name).stop(drain)

    def _known(self, name: str) -> RunningProfile:
        running = self._profiles.get(name)
        if running is None:
            raise sentences.profile_not_listed(name)
        return running
