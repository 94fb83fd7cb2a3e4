"""One forward of a running tunnel: when its listener is opened, tried again and closed.

A local listener is the tunnel's: it is bound once and outlives every link. A remote one is the
link's: it is asked for anew on each. Must never move a byte; `tunnelctl.forward` does.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.forward.held import HeldPorts
from tunnelctl.forward.listener import Listener, keeper_of
from tunnelctl.forward.local import LocalForward
from tunnelctl.forward.remote import RemoteForward
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.barring import Barring
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Reconnect
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.health import OF_TARGETS
from tunnelctl.state.snapshot import ForwardState, Health
from tunnelctl.supervisor.forwards.listener_tries import ListenerTries
from tunnelctl.supervisor.tasks import Tasks, unexpected

_log = logging.getLogger("tunnelctl")

# A port in use here is freed by somebody here: soon, or not for hours.
_LOCAL_RETRY = Reconnect(min=1.0, max=5.0)
# A server may hold the port for the session before, until that one's ClientAlive gives it up.
_REMOTE_RETRY = Reconnect(min=1.0, max=30.0)

# How long a server may take to answer a request before a forward is closed all the same, in
# seconds. Most answer within a round trip.
_ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Carrier:
    """The tunnel that carries a forward, as the forward sees it.

    `changed(name)` is called after each change of what is shown of the forward, `on_failure(name,
    failure)` for each client that could not be served, `on_waiting()` for each that came while
    there was no link. `is_on_demand()`: whether clients make the link. `held` has the ports that
    servers hold for the profiles.
    """

    profile: str
    reactor: Reactor
    tasks: Tasks
    held: HeldPorts
    is_on_demand: Callable[[], bool]
    changed: Callable[[str], None]
    on_failure: Callable[[str, Failure], None]
    on_waiting: Callable[[], None]


class Forwarding(ABC):
    """What both kinds share: the listener's failure and when it is tried again, and how the target
    is. Its fields are written here and in its subclasses, and read by whoever shows them.
    """

    retry_policy: Reconnect

    def __init__(self, rule: Forward, carrier: Carrier) -> None:
        self.rule = rule
        # Of the listener or of a connection; forgotten when the listener is served by a new link.
        self.last_error: Failure | None = None
        self.tries = ListenerTries(self.retry_policy, self._try)
        self.health = Health.UNKNOWN
        self.health_since: datetime = clock.wall()
        self.probe_failure: Failure | None = None  # of the last probe; None when it was answered
        self.left_alone: Barring | None = None  # what its target is, where that is not probed
        self.is_stopped = False
        self._carrier = carrier
        self._link: Link | None = None
        self._was_attached = False

    @property
    def owner(self) -> str:
        """Its name among those of all profiles."""
        return f"{self._carrier.profile}/{self.rule.name}"

    @property
    def on_demand(self) -> bool:
        """Whether it listens without a link, too, which a client makes."""
        return self._carrier.is_on_demand()

    @property
    @abstractmethod
    def side(self) -> LocalForward | RemoteForward:
        """The forward itself, for its counters and address."""

    @property
    def caveat(self) -> Failure | None:
        """What is not as it was asked for, though it listens."""
        return None

    @abstractmethod
    def _try(self) -> None:
        """Open the listener, or begin to."""

    @abstractmethod
    def open(self) -> None:
        """Open the listener if it could be open and is not, without waiting for the next try."""

    @abstractmethod
    def take_over(self, listener: Listener | None, port: int) -> None:
        """Listen as the forward of this name did before: on its `listener`, if that stayed bound
        here, or at the `port` that the server chose for it, 0 if it did not."""

    def release(self) -> Listener | None:
        """What listens here, and stays bound for the forward that comes after; None if nothing."""
        return None

    @property
    def chosen_port(self) -> int:
        """The port that the server chose; 0 where it did not."""
        return 0

    def judge(self, health: Health, failure: Failure | None) -> None:
        """What the last probe says of the target; `failure` is None when it was answered."""
        if health is not self.health:
            self.health, self.health_since = health, clock.wall()
            error = self.last_error
            if health is Health.HEALTHY and error is not None and error.code in OF_TARGETS:
                self.last_error = None  # it answers again
        self.probe_failure = failure

    def leave_alone(self, target: Barring | None) -> None:
        """The target is not probed, being one that bars who does; or it is probed (None)."""
        self.left_alone = target

    def met(self, failure: Failure) -> None:
        """A client could not be served."""
        self.last_error = failure

    def retune(self, rule: Forward) -> None:
        """A rule whose listener would be the same."""
        self.rule = rule

    def attach(self, link: Link) -> None:
        """The link is up."""
        self._link = link
        self._was_attached = True

    def move(self, link: Link) -> None:
        """Another link serves new clients from now on; connections over the one before live on."""
        self.attach(link)

    def detach(self) -> None:
        """The link is gone."""
        self._link = None

    @abstractmethod
    def away(self, why: Failure | None, *, hopeless: bool) -> None:
        """Why the host has no link, and whether none that serves will come by itself."""

    async def close(self, drain: float) -> None:
        """Stop listening; open connections have `drain` seconds to end, then are reset."""
        self.tries.cancel()
        self.is_stopped = True
        try:
            await self.side.close(drain)
        except Exception as error:  # it must not keep the others from closing
            unexpected(error, f"closing forward {self.rule.name}")
        self._changed()

    @property
    def retried(self) -> bool:
        """Whether a listener that failed is tried again by itself."""
        failure = self.tries.failure
        return failure is None or failure.retryable

    @property
    def state(self) -> ForwardState:
        """`up` once it listens and was given a link (or makes one on demand); a listener without
        one is `pending`."""
        if self.is_stopped:
            return ForwardState.STOPPED
        if self.tries.failure is not None:
            return ForwardState.FAILED
        listens = self.side.listening is not None
        serves = listens and (self._was_attached or self.on_demand)
        return ForwardState.UP if serves else ForwardState.PENDING

    def _changed(self) -> None:
        self._carrier.changed(self.rule.name)

    def _client_failed(self, failure: Failure) -> None:
        self._carrier.on_failure(self.rule.name, failure)

    def _opened(self) -> None:
        self.last_error = None
        self.tries.succeeded()
        self._changed()

    def _failed(self, failure: Failure) -> None:
        self.last_error = failure
        self.tries.failed(failure, is_wanted=not self.is_stopped)
        self._changed()


class LocalForwarding(Forwarding):
    """Bound when the tunnel starts, so that a busy port is told at once; clients wait for the
    link. Bound until the tunnel stops."""

    retry_policy = _LOCAL_RETRY

    def __init__(self, rule: Forward, carrier: Carrier) -> None:
        super().__init__(rule, carrier)
        self._local = LocalForward(
            rule, carrier.reactor, self._client_failed, carrier.on_waiting, self.owner
        )
        self._was_bound = False
        self._opening: asyncio.Task[None] | None = None

    @property
    def side(self) -> LocalForward:
        return self._local

    def take_over(self, listener: Listener | None, port: int) -> None:
        if listener is not None:
            self._local.adopt(listener)
            self._was_bound = True

    def release(self) -> Listener | None:
        return self._local.release()

    def bind_anew(self, lost: Listener) -> None:
        """The file of this unix listener was removed or replaced: clients cannot find it. Nothing
        is done where it is not the one that listens any more."""
        if self.is_stopped or self._local.listener is not lost:
            return
        _log.warning("%s: %s was removed, listening anew", self.owner, self._local.listening)
        self._local.withdraw()
        self._try()

    def open(self) -> None:
        if self._local.listening is None and not self.is_opening:
            self.tries.cancel()
            self._try()

    @property
    def is_opening(self) -> bool:
        """Whether it is not known yet whether it can listen."""
        return self._opening is not None and not self._opening.done()

    async def settled(self) -> None:
        """Wait until that is known; not for ever, for a resolver or a disk may hang."""
        if self._opening is not None:
            await asyncio.wait([self._opening], timeout=_ANSWER_SECONDS)

    async def close(self, drain: float) -> None:
        self.is_stopped = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        await super().close(drain)

    def attach(self, link: Link) -> None:
        super().attach(link)
        if self._local.listening is not None:
            self._local.attach(link)
            self._opened()

    def detach(self) -> None:
        super().detach()
        self._local.detach()

    def away(self, why: Failure | None, *, hopeless: bool) -> None:
        self._local.away(why, hopeless=hopeless)

    def _try(self) -> None:
        if self._local.open_quickly():
            self._listens()
        else:
            name = f"open forward {self.rule.name}"
            self._opening = self._carrier.tasks.spawn(self._open(), name)

    async def _open(self) -> None:
        try:
            await self._local.open()
        except Failure as failure:
            # Where it has listened before, what is in the way may pass, as a folder that is gone.
            self._failed(failure.but(retryable=True) if self._was_bound else failure)
            keeper = keeper_of(self.rule.listen)
            if keeper is not None:  # a forward of ours, which may be about to go elsewhere
                keeper.when_closed(self.tries.hasten)
        except Exception as error:
            self._failed(unexpected(error, f"opening {self.rule.listen}"))
        else:
            self._listens()

    def _listens(self) -> None:
        self._was_bound = True
        if self._link is not None:
            self._local.attach(self._link)
        self._opened()


class RemoteForwarding(Forwarding):
    """Asked for on each new link. A refusal keeps the link and is tried again on it."""

    retry_policy = _REMOTE_RETRY

    def __init__(self, rule: Forward, carrier: Carrier) -> None:
        super().__init__(rule, carrier)
        self._remote = RemoteForward(
            rule, carrier.reactor, self._client_failed, self.owner, carrier.held
        )
        self._opening: asyncio.Task[None] | None = None

    @property
    def side(self) -> RemoteForward:
        return self._remote

    @property
    def caveat(self) -> Failure | None:
        return self._remote.caveat

    def take_over(self, listener: Listener | None, port: int) -> None:
        self._remote.chosen_port = port

    @property
    def chosen_port(self) -> int:
        return self._remote.chosen_port

    def open(self) -> None:
        has_failed = self.tries.failure is not None
        if has_failed and self._opening is not None and self._opening.done():
            self.tries.cancel()
            self.tries.forget_failure()
            self._changed()
            self._try()

    def attach(self, link: Link) -> None:
        super().attach(link)
        self.tries.begin_anew()
        self._try()

    def move(self, link: Link) -> None:
        self._remote.withdraw()
        self.detach()
        self.attach(link)

    def detach(self) -> None:
        super().detach()
        self._remote.detach()
        self.tries.cancel()
        self.tries.forget_failure()  # the next link's server may answer otherwise
        self._was_attached = False
        self._changed()

    def away(self, why: Failure | None, *, hopeless: bool) -> None:
        """Nobody can come: the listener went with the link."""

    async def close(self, drain: float) -> None:
        self.tries.cancel()
        self.is_stopped = True
        if self._opening is not None:
            # A request that is under way is waited for: what comes next may want the same port.
            # One that is answered later still, if ever, is taken back by who asked (remote.py).
            await asyncio.wait([self._opening], timeout=_ANSWER_SECONDS)
            self._opening.cancel()
        await super().close(drain)

    def _try(self) -> None:
        if self._link is not None:
            work = self._ask(self._link)
            name = f"open remote forward {self.rule.name}"
            self._opening = self._carrier.tasks.spawn(work, name)

    async def _ask(self, link: Link) -> None:
        failure: Failure | None = None
        try:
            await self._remote.open(link, lambda why: self._silent(link, why))
        except Failure as refused:
            failure = refused
        except Exception as error:
            failure = unexpected(error, f"asking for {self.rule.listen}")
        if self._link is not link:
            return  # too late: the answer is about a link that is gone
        if failure is not None:
            self._failed(failure)
            return
        self._opened()
        await self._remote.look(link)
        self._changed()

    def _silent(self, link: Link, failure: Failure) -> None:
        """The server answers others and not this request; a late answer still counts."""
        if self._link is link:
            self._failed(failure)


def forwarding(rule: Forward, carrier: Carrier) -> Forwarding:
    """The forwarding for the side on which `rule` listens."""
    kind = LocalForwarding if rule.side is Side.HERE else RemoteForwarding
    return kind(rule, carrier)
