"""The probes of one tunnel: when each target is probed, and what follows from the results.

Owns the health of the tunnel's forwards, which is unknown without a link. Probes only over a link
that is up, so it wakes no host, and sends nothing for `probe: none`, nor to a service that would
bar the server for it (`tunnelctl.spec.barring`), unless the profile asks for it. Must never touch
the link: it asks for a reconnect, and the state machine decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.forward.probing import ProbedForward, ask
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec import barring
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.forward import Forward, OnUnhealthy, Probe, ProbeType, Side
from tunnelctl.spec.host import Reconnect
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.documents.snapshot import ForwardState, Health
from tunnelctl.state.health import (
    LOOK,
    ProbeTally,
    Remedy,
    believed,
    is_old,
    judged,
    next_wait,
    tried,
)
from tunnelctl.supervisor import sentences
from tunnelctl.supervisor.forwards.forwarding import Forwarding
from tunnelctl.supervisor.forwards.witnesses import Witnesses
from tunnelctl.supervisor.tasks import Tasks, unexpected


@dataclass(frozen=True, slots=True)
class Tunnelled:
    """The tunnel as its probes see it.

    `judged` is called after every result, with whether the health of the forward changed;
    `reconnect` asks for another link because of an unhealthy target.
    """

    profile: str
    random: Random
    tasks: Tasks
    environment: Callable[[], Environment]
    policy: Callable[[], Reconnect]
    judged: Callable[[Forwarding, bool], None]
    reconnect: Callable[[Failure], None]


class Probes:
    """For one tunnel."""

    def __init__(self, tunnel: Tunnelled) -> None:
        self._tunnel = tunnel
        self._probers: dict[str, _Prober] = {}
        self._link: Link | None = None

    def add(self, item: Forwarding) -> None:
        """Begin to probe the target of a forward."""
        prober = self._probers[item.rule.name] = _Prober(item, self._tunnel)
        if self._link is not None:
            prober.start(self._link)

    def remove(self, name: str) -> None:
        """Stop probing the target of this forward."""
        self._probers.pop(name).stop()

    def retune(self, name: str) -> None:
        """Apply a changed rule, possibly with another probe."""
        self._probers[name].retune()

    def attach(self, link: Link) -> None:
        """There is a link, or another one."""
        self._link = link
        for prober in self._probers.values():
            prober.start(link)

    def detach(self) -> None:
        """The link is gone, or is about to be."""
        self._link = None
        for prober in self._probers.values():
            prober.stop()

    async def reach(self, name: str, seconds: float) -> None:
        """Probe the target of a forward once, whatever its `probe` says.

        Raises:
            Failure: why it cannot, or not-up without a link.
        """
        prober = self._probers[name]
        if self._link is None:
            raise sentences.no_link_for_forward(name)
        await prober.reach(self._link, seconds)

    def ask_now(self) -> None:
        """Probe every target soon."""
        for prober in self._probers.values():
            prober.hasten()


class _Prober:
    """Probes the target of one forward repeatedly, from `start` to `stop`."""

    def __init__(self, item: Forwarding, tunnel: Tunnelled) -> None:
        self._item = item
        self._tunnel = tunnel
        self._probe, self._target = item.rule.probe, item.rule.target
        self._tally = ProbeTally()
        self._remedy = Remedy()
        self._witnesses = Witnesses(item)
        self._told_at = 0.0  # monotonic seconds of the last result from clients
        self._greeted_as: barring.Barring | None = None  # by a greeting, over any link
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        item.leave_alone(self._left_alone)

    def start(self, link: Link) -> None:
        """Probe over this link, from the beginning."""
        self.stop()
        self._link = link
        self._witnesses.forget()
        self._wait()

    def stop(self) -> None:
        """Stop probing; earlier results do not apply any more. Idempotent."""
        self._link = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self._tally = ProbeTally()
        self._show(None)

    def retune(self) -> None:
        """Another probe begins from the start; another `on_unhealthy` keeps the results."""
        rule = self._item.rule
        if (self._probe, self._target) != (rule.probe, rule.target):
            self._probe, self._target = rule.probe, rule.target
            self._greeted_as = None
            self._item.leave_alone(self._left_alone)
            self._remedy = Remedy()
            if self._link is not None:
                self.start(self._link)

    def hasten(self) -> None:
        """Probe soon, unless a probe is running."""
        if self._timer is not None:
            self._timer.cancel()
            self._arm(next_wait(ProbeTally(), self._probe, self._tunnel.random.random()))

    @property
    def _left_alone(self) -> barring.Barring | None:
        """The kind of service that is not probed, because it bars clients that only connect."""
        if not self._probe.unasked:
            return None
        return self._greeted_as or barring.by_port(self._target)

    def _wait(self) -> None:
        if self._probe.type is not ProbeType.NONE:
            due = next_wait(self._tally, self._probe, self._tunnel.random.random())
            self._arm(LOOK if self._left_alone else due)

    def _arm(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        assert self._link is not None
        if self._probe.unasked and self._witnesses.got_through():
            self._hear(None)
        elif self._left_alone:
            self._listen_to_clients()
        elif self._may_ask():
            work = self._ask(self._link)
            self._asking = self._tunnel.tasks.spawn(work, f"probe {self._item.rule.name}")
        else:
            self._wait()

    def _listen_to_clients(self) -> None:
        """No client reached a target that is not probed: one failed, or none came."""
        failure = self._witnesses.failure()
        if failure is not None:
            self._hear(failure)
            return
        if is_old(clock.monotonic() - self._told_at):
            self._tally = ProbeTally()
            self._show(None)
        self._wait()

    def _hear(self, failure: Failure | None) -> None:
        """The health of a target by its clients; if it is not probed, a single client decides."""
        self._told_at = clock.monotonic()
        self._judge(failure, believed(self._probe) if self._left_alone else self._probe)

    def _may_ask(self) -> bool:
        """Whether to probe now: the forward listens. A command connects as clients do and would
        keep a lazy host awake, so there it runs only while other clients are connected."""
        item = self._item
        comes_as_client = self._probe.type is ProbeType.COMMAND and item.rule.side is Side.HERE
        rests = item.on_demand and comes_as_client and not item.side.counters.open
        return item.state is ForwardState.UP and not rests

    async def _ask(self, link: Link) -> None:
        failure: Failure | None = None
        rule = self._item.rule
        greeting = b""
        try:
            greeting = await ask(rule, link, self._place(rule))
        except Failure as unanswered:
            failure = unanswered
        except Exception as error:
            failure = unexpected(error, f"asking the target of {rule.name}")
        if self._link is link and not link.closed.done():
            self._asking = None
            self._greeted_as = self._greeted_as or barring.by_greeting(greeting)
            if self._greeted_as is not None:
                self._item.leave_alone(self._left_alone)
                self._hear(_turned_away(rule, greeting))
            else:
                self._judge(failure, self._probe)

    async def reach(self, link: Link, seconds: float) -> None:
        """Probe once, whatever the profile says; the health does not change."""
        rule = replace(self._item.rule, probe=Probe(ProbeType.TCP, timeout=seconds))
        await ask(rule, link, self._place(rule))

    def _place(self, rule: Forward) -> ProbedForward:
        target = None if rule.side is Side.HERE else rule.target
        address = target or self._item.side.listening or rule.listen
        return ProbedForward(self._tunnel.profile, address, self._tunnel.environment())

    def _judge(self, failure: Failure | None, probe: Probe) -> None:
        before = self._tally.health
        self._tally = judged(self._tally, probe, answered=failure is None)
        self._show(failure)
        self._wait()
        self._tunnel.judged(self._item, self._tally.health is not before)
        if self._tally.health is Health.HEALTHY:
            self._remedy = Remedy()
        elif failure is not None and self._tally.health is Health.UNHEALTHY:
            self._act(failure)

    def _show(self, failure: Failure | None) -> None:
        self._item.judge(self._tally.health, failure)

    def _act(self, failure: Failure) -> None:
        """Ask for another link because of an unhealthy target."""
        now = clock.monotonic()
        reconnects = self._item.rule.on_unhealthy is OnUnhealthy.RECONNECT
        if reconnects and now >= self._remedy.not_before:
            self._remedy = tried(self._remedy, self._tunnel.policy(), now)
            self._tunnel.reconnect(sentences.forward_unhealthy(self._item.rule, failure))


def _turned_away(rule: Forward, greeting: bytes) -> Failure | None:
    """The failure of a MySQL server that sends an error as its greeting; None for any other."""
    refusal = barring.refusal(greeting)
    if refusal is None:
        return None
    said, is_barred = refusal
    return sentences.clients_turned_away(rule, said, is_barred=is_barred)
