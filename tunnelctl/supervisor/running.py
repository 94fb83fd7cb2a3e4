"""One running profile: its tunnels, and the changes from one version of it to the next.

Owns the tunnels. Must never touch what a new version does not change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping

from tunnelctl import clock
from tunnelctl.forward.listener import Listener
from tunnelctl.home.secrets import resolve_secret
from tunnelctl.inspect.inspector import Inspection
from tunnelctl.inspect.replay import Replay, ReplayAnswer
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import HostAnew, Profile
from tunnelctl.spec.secret import SecretRef
from tunnelctl.ssh.chain import everybody
from tunnelctl.state.documents.snapshot import ProfileState, ProfileStatus, Wanted
from tunnelctl.state.documents.status_events import EventKind
from tunnelctl.state.profile.hooks import hook_of
from tunnelctl.state.profile.overall import combined, profile_state
from tunnelctl.state.profile.plan import Plan, diff
from tunnelctl.supervisor import sentences
from tunnelctl.supervisor.forwards.forwarding import Forwarding
from tunnelctl.supervisor.forwards.local_forwarding import LocalForwarding
from tunnelctl.supervisor.hooks import Call, HookRunner
from tunnelctl.supervisor.logins.current_hosts import Anew
from tunnelctl.supervisor.logins.dialler import OfProfile
from tunnelctl.supervisor.logins.question_desk import AnswerScope, Memory
from tunnelctl.supervisor.records.connection_list import Served
from tunnelctl.supervisor.records.sampler import RoundTripTo
from tunnelctl.supervisor.services import Services
from tunnelctl.supervisor.tasks import AT_ONCE, all_of
from tunnelctl.supervisor.tunnel import Tunnel


class RunningProfile:
    """Lives from `up` to the next `down`; after that it is kept for status.

    `environment` is that of the last caller: programs that start from then on run in it.
    """

    def __init__(
        self,
        profile: Profile,
        environment: Environment,
        services: Services,
        hooks: HookRunner,
        anew: HostAnew | None = None,
    ) -> None:
        self.profile = profile
        self.wanted = Wanted.UP
        self.environment = environment
        self._services = services
        self._hooks = hooks
        self._memory = Memory(services.questions.kept)
        self._anew = Anew(profile.name, anew)
        self._shared = OfProfile(
            profile.name,
            lambda: self.environment,
            self._resolve_secret,
            lambda: self._anew,
            lambda: services.eviction.concerns(profile.name),
        )
        self._was_up = False
        self._is_changing = False
        self._announced: ProfileState | None = None
        self._since = self._wanted_since = clock.wall()
        self._tunnels: dict[str, Tunnel] = {}  # in order of start
        for host in profile.hosts:
            self._add_tunnel(host)

    async def fill(self) -> None:
        """Give the tunnels their forwards; called before the start, and before anyone sees the
        profile."""
        for number, rule in enumerate(self.profile.forwards, 1):
            self._tunnels[rule.via].add(rule)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    def start(self) -> None:
        """Start every tunnel, and retry what failed permanently."""
        self._changed()
        for tunnel in self._tunnels.values():
            tunnel.start()

    async def apply(
        self, profile: Profile, environment: Environment, anew: HostAnew | None = None
    ) -> None:
        """Apply this `profile`, a new version of the same name.

        Removed parts are closed before new ones are opened, because they may want the same port.
        The state of the profile is announced once, after all changes, also for hooks.
        """
        self._is_changing = True
        try:
            await self._apply(profile, environment, anew)
        finally:
            self._is_changing = False
            self._changed()

    async def _apply(
        self, profile: Profile, environment: Environment, anew: HostAnew | None
    ) -> None:
        is_new = environment != self.environment
        self.environment = environment
        self._memory.retain(profile.hosts)
        for gone in everybody(self.profile.hosts) - everybody(profile.hosts):
            self._shared.logins.forget(gone)
        self._anew = Anew(profile.name, anew)
        plan = diff(self.profile, profile)
        listeners, ports = self._released(plan), self._chosen_ports(plan)
        try:
            await self._carry_out(plan, profile, listeners, ports)
            if is_new:  # not earlier: an attempt with the old settings would fail again
                self._retry()
        finally:
            for listener in listeners.values():  # no client came for it
                listener.close()

    async def _carry_out(
        self,
        plan: Plan,
        profile: Profile,
        listeners: dict[str, Listener],
        ports: Mapping[str, int],
    ) -> None:
        await self._close_forwards(plan)
        await asyncio.gather(
            *(self._tunnels[host.name].stop(0) for host in reversed(plan.hosts.removed))
        )
        for host in plan.hosts.removed:
            del self._tunnels[host.name]
        self.profile = profile
        for host in plan.hosts.retuned:
            self._tunnels[host.name].retune(host)
        for host in plan.hosts.replaced:
            self._tunnels[host.name].replace_host(host)
        for host in plan.hosts.added:
            self._add_tunnel(host)
        for rule in (*plan.forwards.added, *plan.forwards.replaced):
            listener, port = listeners.pop(rule.name, None), ports.get(rule.name, 0)
            self._tunnels[rule.via].add(rule, listener, port)
            await asyncio.sleep(0)  # let others run: there may be thousands
        for rule in plan.forwards.retuned:
            self._tunnels[rule.via].retune_forward(rule)
        self.start()
        await asyncio.gather(*(tunnel.forwards.settled() for tunnel in self._tunnels.values()))

    def hear(self, environment: Environment) -> None:
        """Use this environment for everything that starts from now on. It may name
        another agent, so waiting hosts connect now."""
        if environment != self.environment:
            self.environment = environment
            self._retry()

    def _retry(self) -> None:
        for tunnel in self._tunnels.values():
            tunnel.retry_now()

    def restart(self, hosts: Collection[str] = ()) -> None:
        """Close the links of these hosts, or of all, and reconnect now.

        Raises:
            Failure: profile-not-found, there is no tunnel to one of them.
        """
        for host in hosts:
            if host not in self._tunnels:
                raise sentences.no_tunnel_to_host(self.profile.name, host, tuple(self._tunnels))
        self._was_up = False
        for host in hosts or tuple(self._tunnels):
            self._tunnels[host].restart()
        self._changed()

    async def reach(self, name: str, seconds: float) -> None:
        """Probe the target of a forward once. Raises Failure if it cannot be reached."""
        (rule,) = (rule for rule in self.profile.forwards if rule.name == name)
        await self._tunnels[rule.via].reach(name, seconds)

    def inspection(self, name: str) -> Inspection:
        """The inspection of a forward. Raises Failure, as Supervisor.inspection."""
        return self._forward(name).inspected()

    async def replay(self, name: str, replay: Replay) -> ReplayAnswer:
        """Send a request of a forward to its target again. Raises Failure."""
        return await self._forward(name).replay(replay)

    def _forward(self, name: str) -> Forwarding:
        """Raises Failure: not-up, or profile-not-found, there is no such forward."""
        if self.wanted is Wanted.DOWN:
            raise sentences.profile_down(self.profile.name)
        for tunnel in self._tunnels.values():
            if (found := tunnel.forwards.get(name)) is not None:
                return found
        names = tuple(rule.name for rule in self.profile.forwards)
        raise sentences.no_such_forward(self.profile.name, name, names)

    async def stop(self, drain: float) -> None:
        """Close everything; connections have `drain` seconds to end. Idempotent."""
        if self.wanted is not Wanted.DOWN:
            self.wanted, self._wanted_since = Wanted.DOWN, clock.wall()
        self._memory.retain(())
        self._changed()
        await asyncio.gather(*(t.stop(drain) for t in reversed(self._tunnels.values())))
        self._changed()
        self.environment = Environment()

    def cut(self) -> None:
        """Close the listeners and reset connections and links before this returns; `stop` does the
        rest."""
        for tunnel in self._tunnels.values():
            tunnel.cut()

    def answerable(self, place: AnswerScope) -> None:
        """Somebody answers for these hosts from now on: those that wait for an answer try again."""
        for name, tunnel in self._tunnels.items():
            if place.includes(AnswerScope(place.profile, name)):
                tunnel.answerable()

    def hurry(self) -> None:
        """The network changed, or the system resumed: waiting hosts connect now, links are
        probed."""
        for tunnel in self._tunnels.values():
            tunnel.hurry()

    async def hasten(self, drain: float) -> None:
        """While it stops: connections have no more than `drain` seconds left."""
        await asyncio.gather(*(tunnel.hasten(drain) for tunnel in self._tunnels.values()))

    def abort(self) -> tuple[str, ...]:
        """Abandon a clean stop; returns what was stuck."""
        return tuple(name for tunnel in self._tunnels.values() for name in tunnel.abort())

    def status(self) -> ProfileStatus:
        """The profile as it is now, in the order of its file."""
        forwards = {
            name: status
            for tunnel in self._tunnels.values()
            for name, status in tunnel.forward_statuses().items()
        }
        return ProfileStatus(
            name=self.profile.name,
            source=self.profile.source,
            wanted=self.wanted,
            state=self._state(),
            since=clock.rfc3339(self._since),
            wanted_since=clock.rfc3339(self._wanted_since),
            hosts=tuple(
                self._tunnels[h.name].status()
                for h in self.profile.hosts
                if h.name in self._tunnels
            ),
            forwards=tuple(forwards[f.name] for f in self.profile.forwards if f.name in forwards),
        )

    def connections(self) -> Iterator[Served]:
        """Those of every forward, with the links that serve it."""
        for tunnel in self._tunnels.values():
            links = tunnel.links
            for item in tunnel.forwards:
                yield item.side.connections, links

    def round_trips(self) -> Iterator[RoundTripTo]:
        """To every host."""
        for name, tunnel in self._tunnels.items():
            yield self.profile.name, name, tunnel.round_trip

    def unix_listeners(self) -> Iterator[LocalForwarding]:
        """The forwards that listen on unix sockets."""
        for tunnel in self._tunnels.values():
            yield from tunnel.forwards.unix_listeners()

    def _add_tunnel(self, host: Host) -> Tunnel:
        name, services = self.profile.name, self._services
        scope = AnswerScope(name, host.name)
        asking = services.questions.asking(scope, self._memory)
        recalling = services.questions.recalling(scope, self._memory)
        tunnel = Tunnel(self._shared, host, services, asking, recalling, self._changed)
        self._tunnels[host.name] = tunnel
        return tunnel

    def _released(self, plan: Plan) -> dict[str, Listener]:
        """The listeners, by name, of forwards that change and keep their address: they keep their
        port, which the system may have chosen, and stay open for clients."""
        released = {}
        for old, rule in self._in_their_place(plan):
            listener = self._tunnels[old.via].forwards[rule.name].release()
            if listener is not None:
                released[rule.name] = listener
        return released

    def _chosen_ports(self, plan: Plan) -> dict[str, int]:
        """The ports that servers chose for such forwards, to be requested again."""
        return {
            rule.name: self._tunnels[old.via].forwards[rule.name].chosen_port
            for old, rule in self._in_their_place(plan)
            if old.via == rule.via
        }

    def _in_their_place(self, plan: Plan) -> Iterator[tuple[Forward, Forward]]:
        """The forwards that change and keep their address, old and new."""
        before = {rule.name: rule for rule in self.profile.forwards}
        for rule in plan.forwards.replaced:
            old = before[rule.name]
            if (old.side, old.listen) == (rule.side, rule.listen):
                yield old, rule

    async def _close_forwards(self, plan: Plan) -> None:
        gone = {rule.name for rule in (*plan.forwards.removed, *plan.forwards.replaced)}
        rules = [rule for rule in self.profile.forwards if rule.name in gone]
        await all_of(self._tunnels[rule.via].remove(rule.name) for rule in reversed(rules))

    def _resolve_secret(self, reference: SecretRef) -> str:
        return resolve_secret(reference, self.environment)

    def _state(self) -> ProfileState:
        return profile_state(
            self.wanted,
            combined(tunnel.summary for tunnel in self._tunnels.values()),
            all_stopped=all(tunnel.is_stopped for tunnel in self._tunnels.values()),
            was_up=self._was_up,
        )

    def _is_quiet(self, state: ProfileState) -> bool:
        """Whether the log leaves out this change, because a host is unstable."""
        passes = state in (ProfileState.UP, ProfileState.DEGRADED, ProfileState.STARTING)
        return passes and any(tunnel.is_quiet for tunnel in self._tunnels.values())

    def _changed(self) -> None:
        """A part changed: announce the profile if its own state changed."""
        if self._is_changing:
            return
        state = self._state()
        self._was_up = self._was_up or state is ProfileState.UP
        if state is not self._announced:
            before, self._announced = self._announced, state
            self._since = clock.wall()
            name = self.profile.name
            remark = None if self._is_quiet(state) else ""
            event = self._services.journal.record(
                EventKind.PROFILE, name, "", state, "", remark=remark
            )
            hook = hook_of(before, state)
            if hook is not None and (words := getattr(self.profile.hooks, hook)):
                self._hooks.call(Call(hook, words, self.environment, event, self.status()))
