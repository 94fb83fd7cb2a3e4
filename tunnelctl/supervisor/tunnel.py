"""One host of a running profile: its machine, its link, and the forwards that the link carries.

Does what the machine says and tells it what came of it; decides nothing by itself. Owns the link,
the local listeners (which outlive it) and, for `embedded: true`, the server; what it shows and
tells is worked out in `tunnel_status`. Must never change state without telling it, and leaves
nothing open once it has stopped.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from random import Random

from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.forward.held import HeldPorts
from tunnelctl.forward.listener import Listener
from tunnelctl.home.redaction import SECRETS
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host
from tunnelctl.ssh.connect import Stage
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.events import (
    Abandon,
    Action,
    AskLink,
    AttachForwards,
    Authenticating,
    CancelTimer,
    Closed,
    CloseLink,
    Connect,
    Connected,
    DetachForwards,
    Event,
    Hurry,
    Idle,
    Lost,
    MoveForwards,
    OpenListeners,
    Remedied,
    Restart,
    RetireLink,
    RetryDue,
    Retune,
    Shutdown,
    Silent,
    Start,
    StartTimer,
    Stop,
    Unused,
    Wake,
)
from tunnelctl.state.facts import Machine
from tunnelctl.state.machine import next_state
from tunnelctl.state.overall import Summary, Tally
from tunnelctl.state.snapshot import FAILED_FOR_GOOD, ForwardStatus, HostState, HostStatus
from tunnelctl.state.unused import Verdict
from tunnelctl.supervisor import tunnel_status
from tunnelctl.supervisor.forwards.forwarding import (
    Carrier,
    Forwarding,
    LocalForwarding,
    RemoteForwarding,
    forwarding,
)
from tunnelctl.supervisor.forwards.probes import Probes, Tunnelled
from tunnelctl.supervisor.idle import IdleWatch
from tunnelctl.supervisor.journal import Journal
from tunnelctl.supervisor.links import Links
from tunnelctl.supervisor.logins.credential_watch import LoginWatch
from tunnelctl.supervisor.logins.dialler import Dialler, OfProfile
from tunnelctl.supervisor.logins.handshakes import Handshakes
from tunnelctl.supervisor.logins.neighbours import Neighbours
from tunnelctl.supervisor.logins.question_desk import PatientAsking, Questions
from tunnelctl.supervisor.tasks import AT_ONCE, Tasks, all_of, unexpected
from tunnelctl.supervisor.tunnel_status import Teller

_HOST = ""  # among the names of forwards, which have one
# What a person could say yes to.
_FOR_A_PERSON = (Code.NEEDS_INPUT, Code.HOST_KEY_UNKNOWN)
_USES_LINK = frozenset(
    {HostState.CONNECTING, HostState.AUTHENTICATING, HostState.UP, HostState.BACKOFF}
)


@dataclass(frozen=True, slots=True)
class Services:
    """What all tunnels of a supervisor share. `random` spreads their retries."""

    reactor: Reactor
    journal: Journal
    handshakes: Handshakes
    random: Random
    questions: Questions
    neighbours: Neighbours = field(default_factory=Neighbours)
    held: HeldPorts = field(default_factory=HeldPorts)


class Tunnel:
    """Lives once: made, started, stopped. `on_change` is called after every change of `summary`,
    which the state of the profile is worked out from."""

    def __init__(
        self,
        profile: OfProfile,
        host: Host,
        services: Services,
        asking: PatientAsking,
        on_change: Callable[[], None],
    ) -> None:
        self.host = host
        self._profile = profile
        self._services = services
        self._dialler = Dialler(profile, services.handshakes, services.reactor, asking, self._warn)
        self._on_change = on_change
        self._machine = Machine(host.reconnect, host.lazy, len(host.candidates))
        self._tally = Tally()
        self._tally.put(_HOST, tunnel_status.part_of_host(self._machine))
        self.summary: Summary = self._tally.summary
        self._teller = Teller(profile.name, services.journal, self._machine.state)
        self._tasks = Tasks(f"{profile.name}/{host.name}")
        self._attempts: dict[int, asyncio.Task[None]] = {}  # by epoch
        self._queued: set[int] = set()  # epochs of attempts that wait for others
        self._links = Links(self._tasks, functools.partial(self._teller.said, host.name))
        self._idle = self._idle_watch()
        self._probes = Probes(
            Tunnelled(
                profile.name,
                services.random,
                self._tasks,
                profile.environment,
                lambda: self.host.reconnect,
                self._judged,
                self._unhealthy,
            )
        )
        self._login_watch = LoginWatch(
            lambda: self.host.candidates,
            profile.environment,
            services.handshakes.refusals,
            self._tasks,
            self._remedied,
        )
        self._carrier = Carrier(
            profile.name,
            services.reactor,
            self._tasks,
            services.held,
            lambda: self._machine.is_on_demand,
            self._forward_changed,
            self._connection_failed,
            self._client_waits,
        )
        self._listeners_wanted = False
        self._timer: asyncio.TimerHandle | None = None
        self._forwardings: dict[str, Forwarding] = {}  # in order of start
        self._drain = 0.0
        self._stopped = asyncio.Event()

    # What the profile asks for.

    def start(self) -> None:
        """Connect, and keep on; what failed for good is tried again, and a refused login now."""
        self._login_watch.lift()
        self._teller.asked()
        self._handle(Start())

    def restart(self) -> None:
        """Drop the link and try now. Local ports stay bound."""
        self._login_watch.lift()
        self._teller.asked()
        self._handle(Restart())

    def hurry(self) -> None:
        """The world changed: a host that waits tries now, one that is up shows that it lives."""
        self._handle(Hurry())

    def retry_now(self) -> None:
        """A host that waits for its next try has it now; of any other nothing changes."""
        if self._machine.state is HostState.BACKOFF:
            self._login_watch.lift()
            self._handle(Remedied() if self._machine.is_spaced else Hurry())

    def _try_in_new_environment(self) -> None:
        """An attempt failed in an environment that a command replaced while it was under way; it
        may have named another agent."""
        if self._machine.state in FAILED_FOR_GOOD:
            self.start()
        else:
            self.retry_now()

    def answerable(self) -> None:
        """Somebody would answer now: try again what failed for want of that, or may have."""
        machine = self._machine
        # What a fallback stands in for is not forgotten while it serves, or is tried.
        failure = machine.failure if machine.state in FAILED_FOR_GOOD else machine.passed_over
        waits = machine.state is HostState.BACKOFF and machine.is_spaced
        if waits or (failure and failure.code in _FOR_A_PERSON):
            self.start()

    def retune(self, host: Host) -> None:
        """A host that differs only in what can change under its link."""
        self._services.neighbours.forget(self.host, self.hurry)
        self.host = host
        self._login_watch.forget()
        self._idle.stop()
        self._idle = self._idle_watch()
        self._handle(Retune(host.reconnect, host.lazy, len(host.candidates)))

    def replace_host(self, host: Host) -> None:
        """Connect anew with other settings. Local ports stay bound, clients wait."""
        self._tasks.spawn(self._dialler.close(), "close the embedded server")
        self.retune(host)
        self.restart()

    def add(self, rule: Forward, listener: Listener | None = None, port: int = 0) -> None:
        """Carry one more forward, from now on; on this `listener`, if it has one already. Where the
        server is to choose the port it is asked for this `port` first."""
        added = forwarding(rule, self._carrier)
        self._tell_why(added)
        if listener is not None and isinstance(added, LocalForwarding):
            added.adopt(listener)
        if isinstance(added, RemoteForwarding):
            added.side.chosen_port = port
        self._forwardings[rule.name] = added
        if self._listeners_wanted:
            added.open()
        if self._machine.state is HostState.UP:
            added.attach(self._links[self._machine.epoch])
        elif not isinstance(added, LocalForwarding):
            self._client_waits()  # a listener there needs the link
        self._probes.add(added)
        self._forward_changed(rule.name)

    def release(self, name: str) -> Listener | None:
        """The listener of a forward that listens here, which stays bound when that is removed."""
        item = self._forwardings[name]
        return item.side.release() if isinstance(item, LocalForwarding) else None

    def chosen_port(self, name: str) -> int:
        """The port that the server chose for a forward; 0 where it did not."""
        item = self._forwardings[name]
        return item.side.chosen_port if isinstance(item, RemoteForwarding) else 0

    async def remove(self, name: str) -> None:
        """Close a forward; its connections are reset, all others live on."""
        self._probes.remove(name)
        await self._forwardings[name].close(0)
        del self._forwardings[name]
        self._tally.put(name, None)
        self._sum_up()

    def retune_forward(self, rule: Forward) -> None:
        """A forward whose listener would be the same."""
        self._forwardings[rule.name].retune(rule)
        self._probes.retune(rule.name)
        self._forward_changed(rule.name)

    async def reach(self, name: str, seconds: float) -> None:
        """Ask once whether the target of a forward answers. Raises Failure when it does not."""
        await self._probes.reach(name, seconds)

    async def stop(self, drain: float) -> None:
        """Close everything; connections have `drain` seconds to end by themselves. Idempotent."""
        if not self._stopped.is_set():
            self._drain = drain
            self._handle(Stop())
            await self._stopped.wait()

    async def hasten(self, drain: float) -> None:
        """While it stops: connections have no more than `drain` seconds left."""
        await all_of(item.close(drain) for item in tuple(self._forwardings.values()))

    def abort(self) -> tuple[str, ...]:
        """Give up an orderly stop: cancel what runs; says what that was."""
        names = self._tasks.names
        self._tasks.cancel()
        self._links.close_all()
        return names

    # What status shows.

    @property
    def is_stopped(self) -> bool:
        """Whether everything is closed, for good."""
        return self._machine.state is HostState.STOPPED

    @property
    def is_quiet(self) -> bool:
        """Whether the log has enough of how the host comes and goes (state/outage.py)."""
        return self._teller.is_quiet

    def status(self) -> HostStatus:
        """The host as it is now."""
        queued = self._machine.epoch in self._queued
        return self._teller.host_status(self.host, self._machine, self._links, queued=queued)

    def forward_statuses(self) -> dict[str, ForwardStatus]:
        """Every forward as it is now, by name."""
        return {
            name: self._teller.forward_status(item, self._machine)
            for name, item in self._forwardings.items()
        }

    async def settled(self) -> None:
        """Wait until it is known of each listener here whether it can be had, or a moment."""
        items = self._forwardings.values()
        opening = [item for item in items if isinstance(item, LocalForwarding) and item.is_opening]
        await asyncio.gather(*(item.settled() for item in opening))

    def unix_listeners(self) -> Iterator[LocalForwarding]:
        """The forwards that clients find by a file, which anybody may remove."""
        for item in self._forwardings.values():
            if isinstance(item, LocalForwarding) and item.rule.listen.is_unix:
                yield item

    # The machine, and what it asks for.

    def _handle(self, event: Event) -> None:
        """The one place where the host changes."""
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

    def _act(self, action: Action) -> None:
        match action:
            case OpenListeners():
                self._listeners_wanted = True
                self._for_each(lambda item: item.open(), self._is_wanted, "open")
            case Connect(epoch, candidate):
                work = self._connect(epoch, self.host.candidates[candidate])
                self._attempts[epoch] = self._tasks.spawn(work, f"connect, try {epoch}")
            case Abandon(epoch):
                self._attempts.pop(epoch).cancel()
            case AttachForwards(epoch):
                link = self._links[epoch]
                serves = functools.partial(self._serves, epoch)
                self._for_each(lambda item: item.attach(link), serves, "attach")
                self._links.listen(epoch)
                self._probes.attach(self._links[epoch])
            case MoveForwards(epoch):
                link = self._links[epoch]
                serves = functools.partial(self._serves, epoch)
                self._for_each(lambda item: item.move(link), serves, "move")
                self._links.listen(epoch)
                self._probes.attach(self._links[epoch])
            case RetireLink(epoch):
                self._links.retire(epoch)
            case AskLink(epoch):
                self._links[epoch].liveness.ask_now()
                self._probes.ask_now()
            case DetachForwards():
                self._probes.detach()
                for item in self._forwardings.values():
                    item.detach()
            case CloseLink(epoch):
                self._links.close(epoch)
            case StartTimer(epoch, at):
                wait = max(0.0, at - clock.monotonic())
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(wait, self._handle, RetryDue(epoch))
            case CancelTimer():
                assert self._timer is not None
                self._timer.cancel()
            case Shutdown():
                self._tasks.spawn(self._shut_down(), "stop")

    def _is_wanted(self) -> bool:
        return self._machine.state not in (HostState.STOPPING, HostState.STOPPED)

    def _serves(self, epoch: int) -> bool:
        return self._machine.state is HostState.UP and self._machine.epoch == epoch

    def _for_each(
        self, act: Callable[[Forwarding], None], still: Callable[[], bool], what: str
    ) -> None:
        """Do something with every forward that is there now: a few at once, as long as `still`
        says so, for connections wait meanwhile."""
        items = iter(tuple(self._forwardings.items()))

        def some() -> bool:
            few = tuple(islice(items, AT_ONCE))
            for name, item in few:
                if self._forwardings.get(name) is item:  # not removed meanwhile
                    act(item)
            return bool(few)

        async def others() -> None:
            while still():
                if not some():
                    return
                await asyncio.sleep(0)

        some()
        if len(self._forwardings) > AT_ONCE:
            self._tasks.spawn(others(), f"{what} forwards")

    async def _connect(self, epoch: int, candidate: Host) -> None:
        with SECRETS.login():
            await self._attempt(epoch, candidate)

    async def _attempt(self, epoch: int, candidate: Host) -> None:
        def on_stage(stage: Stage) -> None:
            if stage is Stage.QUEUED:
                self._queued.add(epoch)
            else:
                self._queued.discard(epoch)
            if stage is Stage.AUTHENTICATING:
                self._handle(Authenticating(epoch))

        def on_silence(failure: Failure) -> None:
            self._handle(Silent(epoch, failure.at(place)))

        place = f"{self._profile.name}/{candidate.name}"
        began = clock.monotonic()
        environment = self._profile.environment()
        try:
            link = await self._dialler.link(self.host, candidate, on_stage, on_silence)
        except Failure as failure:
            self._lost(epoch, failure.at(place))
            if environment != self._profile.environment():
                self._try_in_new_environment()
        except Exception as error:
            self._lost(epoch, unexpected(error, f"connecting to {candidate.name}"))
        else:
            self._links.add(epoch, link, clock.monotonic() - began)
            self._handle(Connected(epoch))
            self._services.neighbours.reached(candidate)
            link.closed.add_done_callback(lambda ended: self._ended(epoch, link, ended.result()))
        finally:
            self._queued.discard(epoch)
            self._attempts.pop(epoch, None)

    def _ended(self, epoch: int, link: Link, failure: Failure) -> None:
        needed = any(not isinstance(i, LocalForwarding) for i in self._forwardings.values())
        end = self._links.end_of(link, failure, lazy=self._machine.lazy, needed=needed)
        if end.verdict is Verdict.UNUSED:
            self._handle(Unused(epoch, end.failure, needed, self._services.random.random()))
        else:
            self._lost(epoch, end.failure, at_once=end.verdict is Verdict.PERHAPS_UNUSED)

    def _lost(self, epoch: int, failure: Failure, *, at_once: bool = False) -> None:
        # A server may repeat to us what it was sent.
        redact = SECRETS.redact
        told = failure.but(subject=redact(failure.subject), detail=redact(failure.detail))
        self._handle(Lost(epoch, told, self._services.random.random(), at_once))

    def _remedied(self) -> None:
        self._handle(Remedied())

    def _client_waits(self) -> None:
        """A client came, and there is no link for it."""
        if self._machine.is_on_demand:
            self._handle(Wake())

    def _idle_watch(self) -> IdleWatch:
        return IdleWatch(
            self.host.idle_timeout,
            lambda: (item.side.counters for item in self._forwardings.values()),
            lambda: self._handle(Idle()),
        )

    async def _shut_down(self) -> None:
        """In reverse order of start; the forwards drain side by side, over the link."""
        self._probes.detach()
        try:
            items = tuple(reversed(self._forwardings.values()))
            await all_of(item.close(self._drain) for item in items)
            self._links.close_all()
            await self._dialler.close()
            await self._tasks.settle()
        finally:
            self._handle(Closed())
            self._stopped.set()

    # What is told.

    def _judged(self, item: Forwarding, is_news: bool) -> None:
        """The target of a forward was asked."""
        if is_news:
            self._teller.health(item)
        self._forward_changed(item.rule.name)

    def _unhealthy(self, failure: Failure) -> None:
        """A target is to be reached over another link: the one that is up counts as lost, and so
        backoff decides when."""
        if self._machine.state is HostState.UP:
            self._lost(self._machine.epoch, failure)

    def _warn(self, warning: Failure) -> None:
        self._teller.warn(self.host.name, self._machine, warning)

    def _announce_host(self) -> None:
        if self._teller.host(self.host, self._machine, self._links):
            for item in self._forwardings.values():
                self._tell_why(item)

    def _tell_why(self, item: Forwarding) -> None:
        item.away(self._machine.failure, hopeless=self._machine.hopeless is not None)

    def _changed(self) -> None:
        """The host is another, and each forward may be for that."""
        self._tally.put(_HOST, tunnel_status.part_of_host(self._machine))
        for name, item in self._forwardings.items():
            self._teller.forward(item, self._machine)
            self._tally.put(name, tunnel_status.part_of(item))
        self._sum_up()

    def _forward_changed(self, name: str) -> None:
        item = self._forwardings[name]
        self._teller.forward(item, self._machine)
        self._tally.put(name, tunnel_status.part_of(item))
        self._sum_up()

    def _sum_up(self) -> None:
        now = self._tally.summary
        if now != self.summary:
            self.summary = now
            self._on_change()

    def _connection_failed(self, name: str, failure: Failure) -> None:
        item = self._forwardings.get(name)
        if item is not None:
            item.met(failure)
            self._teller.connection_failed(name, item, failure)
