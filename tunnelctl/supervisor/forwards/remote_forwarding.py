"""A forward that listens on the server: requested on each new link, and gone with it."""

from __future__ import annotations

import asyncio
import math
import socket
from contextlib import AbstractAsyncContextManager

from tunnelctl.errors import Code, Failure
from tunnelctl.forward.dialled import dialled_here
from tunnelctl.forward.listener import Listener
from tunnelctl.forward.remote.remote_forward import RemoteForward
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Reconnect
from tunnelctl.ssh.link.link import Link
from tunnelctl.supervisor.forwards.forwarding import ANSWER_SECONDS, Carrier, Forwarding
from tunnelctl.supervisor.tasks import unexpected

# A server may hold the port for the previous session until its ClientAlive check ends that.
_REMOTE_RETRY = Reconnect(min=1.0, max=30.0)


# Most servers notice a lost session within a minute or two, and users wait for the port.
_HELD_SECONDS = 5.0
_HELD_TRIES = 30
# In a fleet the last holder's session may have the port, and nobody else listens there meanwhile.
_TAKEN_OVER_SECONDS = 1.0
# After an orderly end the port is free as soon as sshd has read the end of that session.
_TAKEN_OVER_FIRST = 0.1


class RemoteForwarding(Forwarding):
    """Requested on each new link. A refusal does not affect the link, and is retried on it."""

    retry_policy = _REMOTE_RETRY

    def __init__(self, rule: Forward, carrier: Carrier) -> None:
        super().__init__(rule, carrier)
        self._remote = RemoteForward(
            rule, carrier.reactor, self._client_failed, carrier.profile, carrier.held, carrier.log
        )
        self._opening: asyncio.Task[None] | None = None
        self._inspect()

    @property
    def needs_link(self) -> bool:
        return True

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
        self._remote.ask_anew()
        has_failed = self.tries.failure is not None
        if has_failed and self._opening is not None and self._opening.done():
            self.tries.cancel()
            self.tries.forget_failure()
            self._changed()
            self._try()

    def _dial(self) -> AbstractAsyncContextManager[socket.socket]:
        return dialled_here(self.rule)

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
        self.tries.forget_failure()  # the server of the next link may answer differently
        self._was_attached = False
        self._changed()

    def away(self, why: Failure | None, *, hopeless: bool) -> None:
        """No client can come: the listener went with the link."""

    async def close(self, drain: float) -> None:
        self.tries.cancel()
        self.is_stopped = True
        if self._opening is not None:
            # Wait for a request under way: the next forward may want the same port. If it is
            # answered later, remote_forward.py cancels it.
            await asyncio.wait([self._opening], timeout=ANSWER_SECONDS)
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
            self._failed(failure, within=self._again_within(failure))
            return
        self._opened()
        await self._remote.look(link)
        self._changed()

    def _again_within(self, failure: Failure) -> float:
        held = self._carrier.held
        if failure.code is Code.PORT_IN_USE and self._carrier.profile in held.taken_over:
            return min(_TAKEN_OVER_SECONDS, _TAKEN_OVER_FIRST * (1 << min(self.tries.count, 8)))
        is_free_soon = self._remote.is_held_by_us and self.tries.count < _HELD_TRIES
        return _HELD_SECONDS if is_free_soon else math.inf

    def _silent(self, link: Link, failure: Failure) -> None:
        """The server answers other requests and not this one; a late answer still counts."""
        if self._link is link:
            self._failed(failure)
