"""The connection to each host, hop by hop, as the milestones of one real connection.

Owns the links, through which the forwards are tested then. Must never record a host key: where
`accept-new` would, the key is pinned for this one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from tunnelctl import clock
from tunnelctl.doctor import causes, sentences
from tunnelctl.doctor.report import Step, failed, ok, skipped, warning
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host, StrictHostKeyChecking
from tunnelctl.spec.secret import ResolveSecret
from tunnelctl.ssh.chain import chain
from tunnelctl.ssh.connect import connect, fetch_host_key
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.milestones import Milestone, Passed
from tunnelctl.ssh.questions import Ask
from tunnelctl.ssh.reach.jump import Hops
from tunnelctl.ssh.reach.proxy_command import AT_A_TERMINAL
from tunnelctl.ssh.silence import OnSilence
from tunnelctl.ssh.turns import AT_ONE_ADDRESS, TakenTurn, at_once
from tunnelctl.sshd.server import EmbeddedServer

# Identifies a host regardless of its hops: the steps of a hop that several hosts share are reported
# once.
HostAddress = tuple[str, str]


def place_of(host: Host) -> HostAddress:
    """The key of a host among the steps."""
    return host.name, host.address


class Trail:
    """The milestones that each connection has passed, with durations. Called from any thread."""

    def __init__(self) -> None:
        self._passed: dict[Host, dict[Milestone, tuple[Passed, float]]] = {}
        self._since: dict[Host, float] = {}
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(_turns)

    def note(self, host: Host, milestone: Milestone, how: Passed) -> None:
        """See ssh/milestones.py."""
        now = clock.monotonic()
        passed = self._passed.setdefault(host, {})
        passed[milestone] = (how, now - self._since.get(host, now))
        self._since[host] = now

    @asynccontextmanager
    async def turn(self, host: Host) -> AsyncIterator[TakenTurn]:
        """See ssh/turns.py. The time of the host itself begins here, after that of its hops."""
        async with self._turns[host.address], at_once(host) as place:
            self._since[host] = clock.monotonic()
            yield place

    def of(self, host: Host) -> dict[Milestone, tuple[Passed, float]]:
        """The milestones passed, each with what is known about it and the duration in seconds."""
        return self._passed.get(host, {})

    def seconds_since(self, host: Host) -> float:
        """Seconds since the last milestone, or since the beginning."""
        now = clock.monotonic()
        return now - self._since.get(host, now)


@dataclass
class Ways:
    """The shared parts of the connections of one profile, and their results."""

    profile: str
    reactor: Reactor
    environment: Environment
    resolve_secret: ResolveSecret
    on_silence: OnSilence
    trail: Trail = field(default_factory=Trail)
    hops: Hops = field(default_factory=Hops)
    steps: dict[HostAddress, list[Step]] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)  # by the host of the profile
    _servers: list[EmbeddedServer] = field(default_factory=list)

    async def walk(self, host: Host) -> None:
        """Connect to the host and to each of its fallbacks. The first with a login serves."""
        links = await asyncio.gather(*map(self._reach, host.candidates))
        made = [link for link in links if link is not None]
        for serving in made[:1]:
            self.links[host.name] = serving
        await asyncio.gather(*map(_end, made[1:]))

    async def close(self) -> None:
        """Close every link, and wait for it."""
        await asyncio.gather(*map(_end, self.links.values()))
        for server in self._servers:
            await server.close()

    async def _reach(self, candidate: Host) -> Link | None:
        if candidate.embedded:
            candidate = await self._embedded(candidate)
        going = _everywhere(candidate, _without_recording)
        link: Link | None = None
        failure: Failure | None = None
        accepted: set[HostAddress] = set()
        while link is None and failure is None:
            try:
                link, going = await self._try(candidate, going, accepted)
            except Failure as raised:
                failure = raised
        await self._tell(going, failure, accepted)
        return link

    async def _try(
        self, candidate: Host, going: Host, accepted: set[HostAddress]
    ) -> tuple[Link | None, Host]:
        """Return a link; or None, and the host with one more new key, which `accept-new` would
        record."""
        try:
            return await self._connect(going), going
        except Failure as failure:
            culprit = self._culprit(going)
            if failure.code is not Code.HOST_KEY_UNKNOWN or not _takes_new(candidate, culprit):
                raise
        accepted.add(place_of(culprit))
        return None, await self._pinned(going, culprit)

    async def _connect(self, host: Host) -> Link:
        return await connect(
            host,
            self.reactor,
            environment=self.environment,
            resolve_secret=self.resolve_secret,
            on_stage=lambda _: None,
            asking=_listen_only,
            hops=self.hops,
            turn=self.trail.turn,
            trace=self.trail.note,
            on_silence=functools.partial(self._silent, host),
            patience=AT_A_TERMINAL,
        )

    def _silent(self, host: Host, failure: Failure) -> None:
        self.on_silence(failure.at(f"{self.profile}/{host.name}"))

    async def _embedded(self, host: Host) -> Host:
        server = EmbeddedServer(self.reactor)
        self._servers.append(server)
        await server.start()
        return server.client_host(host)

    def _culprit(self, host: Host) -> Host:
        """The first host on the way without a login."""
        way = chain(host)
        return next(
            (one for one in way if Milestone.AUTHENTICATION not in self.trail.of(one)), host
        )

    async def _pinned(self, host: Host, culprit: Host) -> Host:
        """The host with the current key of `culprit` as that one's only key."""
        silent = functools.partial(self._silent, culprit)
        look = functools.partial(
            fetch_host_key, culprit, self.environment, self.resolve_secret, silent
        )
        # In a new loop, because a loop has one reactor.
        _, blob = await in_thread(lambda: asyncio.run(look()), f"host key of {culprit.name}")
        pins = (fingerprint(blob),)

        def pin(one: Host) -> Host:
            if place_of(one) != place_of(culprit):
                return one
            return dataclasses.replace(one, host_key=pins)

        return _everywhere(host, pin)

    async def _tell(self, host: Host, failure: Failure | None, accepted: set[HostAddress]) -> None:
        """Store the steps of every host on the way."""
        culprit = None if failure is None else self._culprit(host)
        for one in chain(host):
            place = place_of(one)
            if place not in self.steps:
                why = failure if one == culprit else None
                is_new = place in accepted
                self.steps[place] = [step async for step in self._steps(one, why, is_new)]

    async def _steps(self, host: Host, why: Failure | None, is_new: bool) -> AsyncIterator[Step]:
        passed = self.trail.of(host)
        unmet = sentences.earlier_failed()
        for milestone in Milestone:
            if milestone in passed:
                place = host.address if host.is_direct else f"{self.profile}/{host.name}"
                yield _passed(host, milestone, *passed[milestone], place if is_new else "")
            elif milestone is Milestone.NAMES and not host.is_direct:
                continue
            elif why is not None:
                failure = why.at(f"{self.profile}/{host.name}")
                told = await causes.of_host(host, milestone, failure, self.environment)
                yield failed(milestone, host.name, told, self.trail.seconds_since(host))
                unmet, why = sentences.step_failed(milestone), None
            else:
                yield skipped(milestone, host.name, unmet)


def _turns() -> asyncio.Semaphore:
    return asyncio.Semaphore(AT_ONE_ADDRESS)


def _passed(host: Host, milestone: Milestone, how: Passed, seconds: float, new: str) -> Step:
    """The step for a milestone that was passed; `new` is the host's place if its key is not known
    yet."""
    if milestone is Milestone.HOST_KEY and new:
        what = sentences.key_not_known_yet(how.text)
        return warning(milestone, host.name, what, sentences.compare_key(new))
    if not how.is_strict:
        return warning(milestone, host.name, how.text, sentences.no_strict_key_exchange())
    return ok(milestone, host.name, how.text, seconds)


def _listen_only(_host: Host) -> AbstractContextManager[Ask | None]:
    """A reader that answers no question, so that the failure names the question."""
    return nullcontext(lambda _question: None)


def _takes_new(host: Host, culprit: Host) -> bool:
    """Whether the profile accepts an unknown key of the culprit."""
    return not culprit.host_key and any(
        one.strict_host_key_checking is StrictHostKeyChecking.ACCEPT_NEW
        for one in chain(host)
        if place_of(one) == place_of(culprit)
    )


def _without_recording(host: Host) -> Host:
    return dataclasses.replace(host, strict_host_key_checking=StrictHostKeyChecking.YES)


def _everywhere(host: Host, change: Callable[[Host], Host]) -> Host:
    """The host with a change to itself and to every hop on the way to it."""
    hops = tuple(_everywhere(hop, change) for hop in host.proxy_jump)
    return dataclasses.replace(change(host), proxy_jump=hops)


async def _end(link: Link) -> None:
    link.close()
    with contextlib.suppress(Failure):
        await link.wait_thread()
