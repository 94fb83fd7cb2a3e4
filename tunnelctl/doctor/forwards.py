"""Tests each forward of a host: its listener, the server's permission, and the target.

The server is asked for exactly what the forward would request, through the link, and the grant is
cancelled at once. Must never admit a client, and never leave anything on the server.
"""

from __future__ import annotations

import dataclasses

from tunnelctl import clock
from tunnelctl.doctor import causes, forward_sentences, sentences, this_machine
from tunnelctl.doctor.report import Part, Step, caveat, failed, ok, profile_in, skipped
from tunnelctl.errors import Code, Failure
from tunnelctl.forward.probing import ProbedForward, ask
from tunnelctl.forward.remote.remote_forward import RemoteForward
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import LOOPBACK, LOOPBACKS, Endpoint
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.forward import Forward, Probe, ProbeType, Side
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.documents.snapshot import Status

_EITHER = "localhost"
_ACCEPTS = Probe(ProbeType.TCP, timeout=this_machine.PATIENCE)


@dataclasses.dataclass(frozen=True, slots=True)
class Examination:
    """One forward of `profile` through `host`. `link` is None if the host was not reached.

    `status` is the daemon's status document, None if no daemon runs.
    """

    profile: Profile
    rule: Forward
    host: Host
    link: Link | None
    reactor: Reactor
    environment: Environment
    status: Status | None

    async def steps(self) -> list[Step]:
        """The steps for listener, permission and target."""
        if self.rule.side is Side.HERE:
            return [await self._listener(), *await self._through()]
        return [await self._listens_there(), await self._target_here()]

    @property
    def _held_at(self) -> str | None:
        return this_machine.held_by_daemon(self.rule, self.profile, self.status)

    @property
    def _machine(self) -> str | None:
        """The machine of the fleet that holds the profile; None if it is this one, or nobody."""
        running = profile_in(self.status, self.profile.name, self.profile.source)
        fleet = None if running is None else running.fleet
        return None if fleet is None or fleet.holder == fleet.machine else fleet.holder

    @property
    def _not_reached(self) -> str:
        return forward_sentences.host_not_connected(self.rule.via)

    # Forwards that listen on this machine.

    async def _listener(self) -> Step:
        if (listen := self._held_at) is not None:
            message = forward_sentences.held_here(listen)
            return ok(Part.LISTENER, self.rule.name, message)
        return await this_machine.listener(self.rule, self.reactor, self.status)

    async def _through(self) -> list[Step]:
        name = self.rule.name
        parts = (Part.PERMISSION,) if self.rule.target is None else (Part.PERMISSION, Part.TARGET)
        if self.link is None:
            return [skipped(part, name, self._not_reached) for part in parts]
        if self.rule.target is None:
            return [await self._dynamic(self.link)]
        return await self._fixed(self.link, self.rule.target)

    async def _dynamic(self, link: Link) -> Step:
        """The target is unknown, so the server's own SSH port is used: any answer other than a
        refusal by policy is good."""
        target = Endpoint(LOOPBACK, self.host.port)
        failure = await self._asked(link, dataclasses.replace(self.rule, target=target))
        if failure is not None and failure.code is Code.FORWARD_DENIED:
            denied = causes.of_denied_target(failure, self.host, link.info.software)
            return caveat(Part.PERMISSION, self.rule.name, denied)
        return ok(
            Part.PERMISSION, self.rule.name, forward_sentences.connects_for_clients(self.rule.via)
        )

    async def _fixed(self, link: Link, target: Endpoint) -> list[Step]:
        name = self.rule.name
        began = clock.monotonic()
        failure = await self._asked(link, self.rule)
        seconds = clock.monotonic() - began
        if failure is not None and failure.code is Code.FORWARD_DENIED:
            denied = causes.of_denied_target(failure, self.host, link.info.software)
            return [
                failed(Part.PERMISSION, name, denied, seconds),
                skipped(Part.TARGET, name, sentences.step_failed(Part.PERMISSION)),
            ]
        if failure is not None and target.is_unix:
            untold = causes.of_untold_target(failure, self.host, link.info.software)
            what = forward_sentences.does_not_tell(self.rule.via, target)
            return [
                skipped(Part.PERMISSION, name, what),
                failed(Part.TARGET, name, untold, seconds),
            ]
        allowed = ok(Part.PERMISSION, name, forward_sentences.connects_to(self.rule.via, target))
        if failure is None:
            return [allowed, await self._answer(link, target, seconds)]
        told = causes.of_target_there(self.rule, failure, await self._elsewhere(link, failure))
        return [allowed, failed(Part.TARGET, name, told, seconds)]

    async def _answer(self, link: Link, target: Endpoint, seconds: float) -> Step:
        """The target accepts; an `http` probe is sent too."""
        if self.rule.probe.type is ProbeType.HTTP:
            try:
                await ask(self.rule, link, self._place)
            except Failure as failure:
                return failed(Part.TARGET, self.rule.name, failure, seconds)
        return ok(Part.TARGET, self.rule.name, forward_sentences.target_answers(target), seconds)

    async def _elsewhere(self, link: Link, failure: Failure) -> Endpoint | None:
        """The other loopback address, if the service listens there and not at the target's;
        `localhost` may be either."""
        target = self.rule.target
        assert target is not None
        if failure.code is not Code.TARGET_REFUSED or target.host not in (_EITHER, *LOOPBACKS):
            return None
        for other in (host for host in LOOPBACKS if host != target.host):
            there = dataclasses.replace(target, host=other)
            if await self._asked(link, dataclasses.replace(self.rule, target=there)) is None:
                return there
        return None

    async def _asked(self, link: Link, rule: Forward) -> Failure | None:
        """The reason why the target does not accept; None if it does."""
        try:
            await ask(dataclasses.replace(rule, probe=_ACCEPTS), link, self._place)
        except Failure as failure:
            return failure
        return None

    @property
    def _place(self) -> ProbedForward:
        return ProbedForward(self.profile.name, self.rule.listen, self.environment)

    # Forwards that listen on the server.

    async def _listens_there(self) -> Step:
        name, listen = self.rule.name, self.rule.listen
        if self._held_at is not None:
            return ok(Part.PERMISSION, name, forward_sentences.held_there(self.rule.via))
        if self.link is None:
            return skipped(Part.PERMISSION, name, self._not_reached)
        if (machine := self._machine) is not None:
            what = forward_sentences.held_by_machine(self.rule.via, machine)
            return skipped(Part.PERMISSION, name, what)
        if listen.is_unix:
            what = forward_sentences.file_would_remain(self.rule.via, str(listen))
            if self.link.info.software.is_openssh and not self.rule.unlink_remote:
                what = forward_sentences.file_would_block(self.rule.via, str(listen))
            return skipped(Part.PERMISSION, name, what)
        # Clients that connect now are refused.
        asked = dataclasses.replace(self.rule, max_connections=0)
        forward = RemoteForward(asked, self.reactor, lambda _: None)
        began = clock.monotonic()
        try:
            await forward.open(self.link)
            await forward.look(self.link)
        except Failure as failure:
            if failure.code is Code.FORWARD_DENIED:
                server = self.link.info.software
                failure = causes.of_denied_listener(failure, self.host, server)
            if failure.code is Code.PORT_IN_USE:
                failure = failure.and_hints(forward_sentences.who_listens(self.host.name, listen))
            return failed(Part.PERMISSION, name, failure, clock.monotonic() - began)
        finally:
            await forward.close(0)
        if forward.caveat is not None:
            return caveat(Part.PERMISSION, name, forward.caveat)
        seconds = clock.monotonic() - began
        return ok(
            Part.PERMISSION, name, forward_sentences.listens_there(self.rule.via, listen), seconds
        )

    async def _target_here(self) -> Step:
        if self.rule.target is None:
            return skipped(Part.TARGET, self.rule.name, forward_sentences.client_chooses())
        step = await this_machine.target(self.rule)
        if step.failure is None and self.rule.probe.type is ProbeType.HTTP and self.link:
            try:
                await ask(self.rule, self.link, self._place)
            except Failure as failure:
                return failed(Part.TARGET, self.rule.name, failure)
        return step
