"""One forward of a running tunnel: when its listener is opened, retried and closed.

A local listener belongs to the tunnel: it is bound once and outlives every link. A remote one
belongs to the link: it is requested again on each. Must never move a byte; `tunnelctl.forward`
does.
"""

from __future__ import annotations

import math
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.forward.client_connections import ConnectionLog
from tunnelctl.forward.listener import Listener
from tunnelctl.forward.local import LocalForward
from tunnelctl.forward.remote.held_ports import HeldPorts
from tunnelctl.forward.remote.remote_forward import RemoteForward
from tunnelctl.inspect.inspector import Inspection, Inspector
from tunnelctl.inspect.replay import Replay, ReplayAnswer
from tunnelctl.inspect.sentences import not_inspected, replay_needs_target
from tunnelctl.net.reactor import Reactor
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.barring import Barring
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Reconnect
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.documents.snapshot import ForwardState, Health
from tunnelctl.state.health import OF_TARGETS
from tunnelctl.supervisor.forwards.listener_tries import ListenerTries
from tunnelctl.supervisor.tasks import Tasks, unexpected

# Seconds that a server may take to answer a request before a forward is closed anyway. Most answer
# within a round trip.
ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Carrier:
    """The tunnel that carries a forward, as the forward sees it.

    `changed(name)` is called after each change of the forward's status, `on_failure(name, failure)`
    for each client that could not be served, `on_waiting()` for each client that came while there
    was no link. `is_on_demand()`: whether clients cause the link. `held` has the ports that servers
    hold for the profiles. `choose(link)` returns the link for the next connection. `log` numbers
    connections, `inspector` shows the requests of inspected forwards.
    """

    profile: str
    reactor: Reactor
    tasks: Tasks
    held: HeldPorts
    inspector: Inspector
    is_on_demand: Callable[[], bool]
    changed: Callable[[str], None]
    on_failure: Callable[[str, Failure], None]
    on_waiting: Callable[[], None]
    choose: Callable[[Link], Link]
    log: ConnectionLog


class Forwarding(ABC):
    """The common part of both kinds: the failure of the listener, its next attempt, and the health
    of the target. Its fields are written here and in subclasses, and read by the status.
    """

    retry_policy: Reconnect

    def __init__(self, rule: Forward, carrier: Carrier) -> None:
        self.rule = rule
        # Of the listener or of a connection; cleared when a new link serves the listener.
        self.last_error: Failure | None = None
        self.tries = ListenerTries(self.retry_policy, self._try)
        self.health = Health.UNKNOWN
        self.health_since: datetime = clock.wall()
        self.probe_failure: Failure | None = None  # of the last probe; None if it succeeded
        self.left_alone: Barring | None = None  # the kind of target that is not probed, or None
        self.is_stopped = False
        self._carrier = carrier
        self._link: Link | None = None
        self._was_attached = False
        self._inspection: Inspection | None = None

    @property
    @abstractmethod
    def needs_link(self) -> bool:
        """Whether it needs a link before any client comes, because it listens on the server."""

    @property
    def is_awaited(self) -> bool:
        """Whether a client waits here for a link."""
        return False

    @property
    def owner(self) -> str:
        """Its name: profile and forward."""
        return f"{self._carrier.profile}/{self.rule.name}"

    @property
    def on_demand(self) -> bool:
        """Whether it listens without a link, and a client causes the link."""
        return self._carrier.is_on_demand()

    @property
    @abstractmethod
    def side(self) -> LocalForward | RemoteForward:
        """The forward itself, with its counters and address."""

    @property
    def caveat(self) -> Failure | None:
        """How the listener differs from what was requested, or None."""
        return None

    @abstractmethod
    def _try(self) -> None:
        """Open the listener, or begin to."""

    @abstractmethod
    def open(self) -> None:
        """Open the listener if it should be open and is not, without waiting for the next
        attempt."""

    @abstractmethod
    def take_over(self, listener: Listener | None, port: int) -> None:
        """Take the place of the previous forward of this name: its `listener` if it is on this
        machine and still bound, or the `port` that the server chose for it (0: none)."""

    def release(self) -> Listener | None:
        """The listener, which stays bound for the forward that replaces this one; or None."""
        return None

    @property
    def chosen_port(self) -> int:
        """The port that the server chose; 0 if it did not."""
        return 0

    def judge(self, health: Health, failure: Failure | None) -> None:
        """Apply the result of the last probe; `failure` is None if it succeeded."""
        if health is not self.health:
            self.health, self.health_since = health, clock.wall()
            error = self.last_error
            if health is Health.HEALTHY and error is not None and error.code in OF_TARGETS:
                self.last_error = None  # it answers again
        self.probe_failure = failure

    def leave_alone(self, target: Barring | None) -> None:
        """Set the kind of target that must not be probed, because it bars clients that only
        connect; None: it is probed."""
        self.left_alone = target

    def met(self, failure: Failure) -> None:
        """A client could not be served."""
        self.last_error = failure

    def retune(self, rule: Forward) -> None:
        """Apply a rule with the same listener."""
        self.rule = rule
        self._inspect()

    def inspected(self) -> Inspection:
        """The requests of this forward. Raises Failure: usage, they are not inspected."""
        if self._inspection is None:
            raise not_inspected(self.owner)
        return self._inspection

    async def replay(self, replay: Replay) -> ReplayAnswer:
        """Send a request to the target again. Raises Failure."""
        if self.rule.target is None:
            raise replay_needs_target(replay.number)
        async with self._dial() as sock:
            return await replay.send(sock, str(self.rule.target))

    @abstractmethod
    def _dial(self) -> AbstractAsyncContextManager[socket.socket]:
        """A socket to the fixed target. Raises Failure."""

    def attach(self, link: Link) -> None:
        """The link is up."""
        self._link = link
        self._was_attached = True

    def move(self, link: Link) -> None:
        """Another link serves new clients from now on; open connections stay on the previous
        one."""
        self.attach(link)

    def detach(self) -> None:
        """The link is gone."""
        self._link = None

    @abstractmethod
    def away(self, why: Failure | None, *, hopeless: bool) -> None:
        """Set why the host has no link; `hopeless`: no link will come up by itself."""

    async def close(self, drain: float) -> None:
        """Stop listening; open connections have `drain` seconds to end, then they are reset."""
        self.tries.cancel()
        self.is_stopped = True
        try:
            await self.side.close(drain)
        except Exception as error:  # a failure must not keep the others from closing
            unexpected(error, f"closing forward {self.rule.name}")
        self._end_inspection()
        self._changed()

    @property
    def retried(self) -> bool:
        """Whether a failed listener is retried."""
        failure = self.tries.failure
        return failure is None or failure.retryable

    @property
    def state(self) -> ForwardState:
        """`up` once it listens and has had a link (or makes one on demand); `pending` if it listens
        without one."""
        if self.is_stopped:
            return ForwardState.STOPPED
        if self.tries.failure is not None:
            return ForwardState.FAILED
        listens = self.side.listening is not None
        serves = listens and (self._was_attached or self.on_demand)
        return ForwardState.UP if serves else ForwardState.PENDING

    def _inspect(self) -> None:
        """Begin or end to inspect, as the rule says. What runs already is seen no more, or not
        yet: a connection is inspected from its first byte or not at all."""
        if self.rule.inspect is None:
            self._end_inspection()
        elif self._inspection is None:
            inspection = self._inspection = self._carrier.inspector.inspect(self.owner)
            is_client = self.rule.side is Side.HERE
            self.side.connections.make_tap = lambda connection: inspection.tap(
                connection.client, str(connection.number), client_is_socket=is_client
            )

    def _end_inspection(self) -> None:
        self.side.connections.make_tap = None
        if self._inspection is not None:
            self._inspection.close()
            self._inspection = None

    def _changed(self) -> None:
        self._carrier.changed(self.rule.name)

    def _client_failed(self, failure: Failure) -> None:
        self._carrier.on_failure(self.rule.name, failure)

    def _opened(self) -> None:
        self.last_error = None
        self.tries.succeeded()
        self._changed()

    def _failed(self, failure: Failure, *, within: float = math.inf) -> None:
        self.last_error = failure
        self.tries.failed(failure, is_wanted=not self.is_stopped, within=within)
        self._changed()
