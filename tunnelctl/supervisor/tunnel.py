"""One host of a running profile: its state machine, its link, and the forwards over that link.

Carries out the actions of the machine and sends the results back as events; decides nothing. Owns
the link, the local listeners (which outlive it) and, for `embedded: true`, the server. Status and
events are made in `tunnel_status`. Must never change state without reporting it, and leaves nothing
open once it has stopped.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.forward.listener import Listener
from tunnelctl.home.redaction import SECRETS
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.documents.snapshot import FAILED_FOR_GOOD, ForwardStatus, HostState, HostStatus
from tunnelctl.state.host import events
from tunnelctl.state.host.facts import Machine
from tunnelctl.state.host.machine import next_state
from tunnelctl.state.host.unused import LinkEndKind
from tunnelctl.state.profile.overall import PartsTally, Summary
from tunnelctl.supervisor import sentences, tunnel_status
from tunnelctl.supervisor.extra_links import ExtraLinks
from tunnelctl.supervisor.forwards.forwarding import Carrier, Forwarding
from tunnelctl.supervisor.forwards.probes import Probes, Tunnelled
from tunnelctl.supervisor.forwards.tunnel_forwards import TunnelForwards, forwarding
from tunnelctl.supervisor.idle import IdleWatch
from tunnelctl.supervisor.links import Links
from tunnelctl.supervisor.logins.attempts import Attempts, Hearer
from tunnelctl.supervisor.logins.credential_watch import LoginWatch
from tunnelctl.supervisor.logins.dialler import Dialler, OfProfile
from tunnelctl.supervisor.logins.question_desk import PatientAsking
from tunnelctl.supervisor.services import Services
from tunnelctl.supervisor.tasks import Tasks
from tunnelctl.supervisor.tunnel_status import Teller

_HOST = ""  # the key of the host among the names of forwards; no forward has it
# Failures that a person can resolve by an answer.
_FOR_A_PERSON = (Code.NEEDS_INPUT, Code.HOST_KEY_UNKNOWN)
_USES_LINK = frozenset(
    {HostState.CONNECTING, HostState.AUTHENTICATING, HostState.UP, HostState.BACKOFF}
)


class Tunnel:
    """Lives once: made, started, stopped. `on_change` is called after every change of `summary`,
    from which the state of the profile is computed. `forwards` are added and removed here."""

    def __init__(
        self,
        profile: OfProfile,
        host: Host,
        services: Services,
        asking: PatientAsking,
        recalling: PatientAsking,
        on_change: Callable[[], None],
    ) -> None:
        self.host = host
        self._profile = profile
        self._services = services
        self._dialler = Dialler(
            profile, services.handshakes, services.reactor, asking, recalling, self._warn
        )
        self._on_change = on_change
        self._machine = Machine(host.reconnect, host.lazy, len(host.candidates))
        self._tally = PartsTally()
        self._tally.put(_HOST, tunnel_status.part_of_host(self._machine))
        self.summary: Summary = self._tally.summary
        self._teller = Teller(profile.name, services.journal, self._machine.state)
        self._tasks = Tasks(f"{profile.name}/{host.name}")
        hearer = Hearer(
            handle=self._handle,
            connected=self._connected,
            lost=self._lost,
            outdated=self._try_in_new_environment,
        )
        self._attempts = Attempts(profile, self._dialler, self._tasks, hearer)
        self._links = Links(self._tasks, functools.partial(self._teller.said, host.name))
        self._extra_links = ExtraLinks(
            profile.name, lambda: self.host, self._dialler, self._tasks, services.random, self._warn
        )
        self._probes = self._make_probes(services)
        self._carrier = self._make_carrier(services)
        self.forwards = TunnelForwards(self._tasks, self._probes)
        self._idle = self._idle_watch()
        self._login_watch = LoginWatch(
            lambda: self.host.candidates,
            profile.environment,
            services.handshakes.refusals,
            self._tasks,
            self._remedied,
        )
        self._listeners_wanted = False
        self._timer: asyncio.TimerHandle | None = None
        self._drain = 0.0
        self._stopped = asyncio.Event()

    def _make_probes(self, services: Services) -> Probes:
        return Probes(
            Tunnelled(
                profile=self._profile.name,
                random=services.random,
                tasks=self._tasks,
                environment=self._profile.environment,
                policy=lambda: self.host.reconnect,
                judged=self._judged,
                reconnect=self._unhealthy,
            )
        )

    def _make_carrier(self, services: Services) -> Carrier:
        return Carrier(
            profile=self._profile.name,
            reactor=services.reactor,
            tasks=self._tasks,
            held=services.held,
            inspector=services.inspector,
            is_on_demand=lambda: self._machine.is_on_demand,
            changed=self._forward_changed,
            on_failure=self._connection_failed,
            on_waiting=self._client_waits,
            choose=self._extra_links.choose,
            log=services.log,
        )

    # Orders of the profile.

    def start(self) -> None:
        """Connect. What failed permanently, and a refused login, is tried again now."""
        self._login_watch.lift()
        self._teller.asked()
        self._handle(events.Start())

    def restart(self) -> None:
        """Close the link and connect now. Local ports stay bound."""
        self._login_watch.lift()
        self._teller.asked()
        self._handle(events.Restart())

    def hurry(self) -> None:
        """The network changed, or the system resumed: a waiting host connects now, a link is
        probed."""
        self._handle(events.Hurry())

    def retry_now(self) -> None:
        """End the delay of a host in backoff; no effect in any other state."""
        if self._machine.state is HostState.BACKOFF:
            self._login_watch.lift()
            self._handle(events.Remedied() if self._machine.is_spaced else events.Hurry())

    def _try_in_new_environment(self) -> None:
        """An attempt failed in an environment that a command replaced meanwhile; the new one may
        name another agent."""
        if self._machine.state in FAILED_FOR_GOOD:
            self.start()
        else:
            self.retry_now()

    def answerable(self) -> None:
        """Somebody can answer now: try again what failed, or may have failed, because nobody
        could."""
        machine = self._machine
        # The failure that a fallback stands in for is kept while the fallback is tried or serves.
        failure = machine.failure if machine.state in FAILED_FOR_GOOD else machine.passed_over
        waits = machine.state is HostState.BACKOFF and machine.is_spaced
        if waits or (failure and failure.code in _FOR_A_PERSON):
            self.start()

    def retune(self, host: Host) -> None:
        """Apply settings that can change under the link."""
        self._services.neighbours.forget(self.host, self.hurry)
        self.host = host
        self._login_watch.forget()
        self._idle.stop()
        self._idle = self._idle_watch()
        self._extra_links.retune()
        self._handle(events.Retune(host.reconnect, host.lazy, len(host.candidates)))

    def replace_host(self, host: Host) -> None:
        """Connect again with other settings. Local ports stay bound, clients wait."""
        self._tasks.spawn(self._dialler.close(), "close the embedded server")
        self.retune(host)
        self.restart()

    def add(self, rule: Forward, listener: Listener | None = None, port: int = 0) -> None:
        """Add a forward. `listener` is the one that it takes over, if any. If the server is to
        choose the port, `port` is requested first."""
        added = forwarding(rule, self._carrier)
        self._tell_why(added)
        added.take_over(listener, port)
        self.forwards.add(added)
        if self._listeners_wanted:
            added.open()
        if self._machine.state is HostState.UP:
            added.attach(self._links[self._machine.epoch])
        elif added.needs_link:
            self._client_waits()
        self._forward_changed(rule.name)

    async def remove(self, name: str) -> None:
        """Close a forward and reset its connections; the others are not affected."""
        await self.forwards.remove(name)
        self._tally.put(name, None)
        self._sum_up()

    def retune_forward(self, rule: Forward) -> None:
        """Apply a rule with the same listener."""
        self.forwards.retune(rule)
        self._forward_changed(rule.name)

    async def reach(self, name: str, seconds: float) -> None:
        """Probe the target of a forward once. Raises Failure if it does not answer."""
        await self._probes.reach(name, seconds)

    async def stop(self, drain: float) -> None:
        """Close everything; connections have `drain` seconds to end. Idempotent."""
        if not self._stopped.is_set():
            self._drain = drain
            self._handle(events.Stop())
            await self._stopped.wait()

    def cut(self) -> None:
        """Close the listeners and reset connections and links before this returns; then stop."""
        self._links.cut_all()
        self._extra_links.cut_all()
        self.forwards.cut()
        self._drain = 0.0
        self._handle(events.Stop())

    async def hasten(self, drain: float) -> None:
        """While it stops: connections have no more than `drain` seconds left."""
        await self.forwards.hasten(drain)

    def abort(self) -> tuple[str, ...]:
        """Abandon a clean stop: cancel all tasks; returns their names."""
        names = self._tasks.names
        self._tasks.cancel()
        self._extra_links.close()
        self._links.close_all()
        return names

    # Status.

    @property
    def is_stopped(self) -> bool:
        """Whether everything is closed permanently."""
        return self._machine.state is HostState.STOPPED

    @property
    def is_quiet(self) -> bool:
        """Whether the log leaves out the changes of the host, because it is unstable."""
        return self._teller.is_quiet

    def status(self) -> HostStatus:
        """The host as it is now."""
        queued = self._attempts.is_queued(self._machine.epoch)
        links = self._links, self._extra_links
        return self._teller.host_status(self.host, self._machine, *links, queued=queued)

    @property
    def links(self) -> tuple[Link, ...]:
        """Those that serve new clients, in the order of the status; none while the host is not
        up."""
        if self._machine.state is not HostState.UP:
            return ()
        return (self._links[self._machine.epoch], *self._extra_links)

    @property
    def round_trip(self) -> float | None:
        """In milliseconds, as in the status."""
        return tunnel_status.round_trip(self.links[0]) if self.links else None

    def forward_statuses(self) -> dict[str, ForwardStatus]:
        """Every forward as it is now, by name."""
        items, machine = self.forwards, self._machine
        return {item.rule.name: self._teller.forward_status(item, machine) for item in items}

    # The state machine and its actions.

    def _handle(self, event: events.Event) -> None:
        """The only place where the state of the host changes."""
        self._machine, actions = next_state(self._machine, event, clock.monotonic())
        self._announce_host()
        for action in actions:
            self._act(action)
        self._services.neighbours.changed(self.host, self._machine, self.hurry)
        self._login_watch.follow(self._machine)
        if self._machine.lazy and self._machine.state in _USES_LINK:
            self._idle.start()
        else:
            self._idle.stop()
        self._changed()

    def _act(self, action: events.Action) -> None:
        match action:
            case events.OpenListeners():
                self._listeners_wanted = True
                self.forwards.open(self._is_wanted)
            case events.Connect(epoch, candidate):
                self._attempts.begin(epoch, self.host, self.host.candidates[candidate])
            case events.Abandon(epoch):
                self._attempts.abandon(epoch)
            case events.AttachForwards(epoch):
                self.forwards.attach(self._links[epoch], lambda: self._serves(epoch))
                self._serve(epoch)
            case events.PromoteLink(epoch):
                link, seconds = self._extra_links.promote()
                self._adopt(epoch, link, seconds)
            case events.MoveForwards(epoch):
                self.forwards.move(self._links[epoch], lambda: self._serves(epoch))
                self._serve(epoch)
            case events.RetireLink(epoch):
                self._links.retire(epoch)
            case events.AskLink(epoch):
                self._links[epoch].liveness.ask_now()
                self._extra_links.ask_now()
                self._probes.ask_now()
            case events.DetachForwards():
                self.forwards.detach()
                self._extra_links.close()
            case events.CloseLink(epoch):
                self._links.close(epoch)
            case events.StartTimer(epoch, at):
                wait = max(0.0, at - clock.monotonic())
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(wait, self._handle, events.RetryDue(epoch))
            case events.CancelTimer():
                assert self._timer is not None
                self._timer.cancel()
            case events.Shutdown():
                self._tasks.spawn(self._shut_down(), "stop")

    def _is_wanted(self) -> bool:
        return self._machine.state not in (HostState.STOPPING, HostState.STOPPED)

    def _serves(self, epoch: int) -> bool:
        return self._machine.state is HostState.UP and self._machine.epoch == epoch

    def _serve(self, epoch: int) -> None:
        """The link of this epoch serves from now on."""
        self._extra_links.serve(self._links[epoch], self._machine.candidate)
        self._links.listen(epoch)
        if self._evicts:
            work = self._services.eviction.claim(
                self._links[epoch], self._profile.name, self.host.name, self._warn
            )
            self._tasks.spawn(work, "record the session")

    @property
    def _evicts(self) -> bool:
        """Whether a command on the server ends the session of a fleet's earlier holder."""
        is_concerned = self._services.eviction.concerns(self._profile.name)
        return is_concerned and self.forwards.listen_there

    def _connected(self, epoch: int, candidate: Host, link: Link, seconds: float) -> None:
        self._links.add(epoch, link, seconds)
        self._handle(events.Connected(epoch))
        self._services.neighbours.reached(candidate)
        link.closed.add_done_callback(lambda ended: self._ended(epoch, link, ended.result()))

    def _adopt(self, epoch: int, link: Link, seconds: float) -> None:
        self._links.add(epoch, link, seconds)
        link.closed.add_done_callback(lambda ended: self._ended(epoch, link, ended.result()))

    def _ended(self, epoch: int, link: Link, failure: Failure) -> None:
        needed = self.forwards.need_link
        if self._serves(epoch) and any(self._extra_links):
            self._warn(sentences.extra_link_lost(failure))
            self._handle(events.Replaced(epoch))
            return
        end = self._links.end_of(link, failure, lazy=self._machine.lazy, needed=needed)
        if end.verdict is LinkEndKind.UNUSED:
            self._handle(events.Unused(epoch, end.failure, needed, self._services.random.random()))
        else:
            self._lost(epoch, end.failure, at_once=end.verdict is LinkEndKind.PERHAPS_UNUSED)

    def _lost(self, epoch: int, failure: Failure, *, at_once: bool = False) -> None:
        jitter, awaited = self._services.random.random(), self.forwards.are_awaited
        self._handle(events.Lost(epoch, _redacted(failure), jitter, at_once, awaited))

    def _remedied(self) -> None:
        self._handle(events.Remedied())

    def _client_waits(self) -> None:
        """A client came, and there is no link for it."""
        if self._machine.state is HostState.BACKOFF:
            if self.forwards.are_awaited:
                self._handle(events.ClientWaits(self._services.random.random()))
        elif self._machine.is_on_demand:
            self._handle(events.Wake())

    def _idle_watch(self) -> IdleWatch:
        return IdleWatch(
            self.host.idle_timeout,
            self.forwards.counters,
            lambda: self._handle(events.Idle()),
        )

    async def _shut_down(self) -> None:
        """Close in reverse order of start; the forwards drain concurrently, over the link."""
        try:
            self._extra_links.halt()
            await self.forwards.close(self._drain)
            self._extra_links.close()
            self._links.close_all()
            await self._dialler.close()
            await self._tasks.settle()
        finally:
            self._handle(events.Closed())
            self._stopped.set()

    # What is told.

    def _judged(self, item: Forwarding, is_news: bool) -> None:
        """The target of a forward was probed."""
        if is_news:
            self._teller.health(item)
        self._forward_changed(item.rule.name)

    def _unhealthy(self, failure: Failure) -> None:
        """A target needs another link: the one that is up counts as lost, so that backoff
        applies."""
        if self._machine.state is HostState.UP:
            self._lost(self._machine.epoch, failure)

    def _warn(self, warning: Failure) -> None:
        self._teller.warn(self.host.name, self._machine, _redacted(warning))

    def _announce_host(self) -> None:
        if self._teller.host(self.host, self._machine, self._links):
            for item in self.forwards:
                self._tell_why(item)

    def _tell_why(self, item: Forwarding) -> None:
        item.away(self._machine.failure, hopeless=self._machine.hopeless is not None)

    def _changed(self) -> None:
        """The host changed, which may change each forward."""
        self._tally.put(_HOST, tunnel_status.part_of_host(self._machine))
        for item in self.forwards:
            self._look_at(item)
        self._sum_up()

    def _forward_changed(self, name: str) -> None:
        self._look_at(self.forwards[name])
        self._sum_up()

    def _look_at(self, item: Forwarding) -> None:
        self._teller.forward(item, self._machine)
        self._tally.put(item.rule.name, tunnel_status.part_of(item))

    def _sum_up(self) -> None:
        now = self._tally.summary
        if now != self.summary:
            self.summary = now
            self._on_change()

    def _connection_failed(self, name: str, failure: Failure) -> None:
        item = self.forwards.get(name)
        if item is not None:
            item.met(failure)
            self._teller.connection_failed(name, item, failure)


def _redacted(failure: Failure) -> Failure:
    """A server may repeat secrets that it was sent."""
    redact = SECRETS.redact
    return failure.but(subject=redact(failure.subject), detail=redact(failure.detail))
