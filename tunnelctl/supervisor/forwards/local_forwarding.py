"""A forward that listens on this machine: bound once, for the lifetime of its tunnel."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AbstractAsyncContextManager

from tunnelctl.errors import Failure
from tunnelctl.forward.dialled import dialled_through
from tunnelctl.forward.listener import Listener, keeper_of
from tunnelctl.forward.local import LocalForward
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Reconnect
from tunnelctl.ssh.link.link import Link
from tunnelctl.supervisor.forwards.forwarding import ANSWER_SECONDS, Carrier, Forwarding
from tunnelctl.supervisor.sentences import no_link_for_forward
from tunnelctl.supervisor.tasks import unexpected

_log = logging.getLogger("tunnelctl")

# A port in use is freed soon, or not for hours.
_LOCAL_RETRY = Reconnect(min=1.0, max=5.0)


class LocalForwarding(Forwarding):
    """Bound when the tunnel starts, so that a port in use is reported at once; clients wait for the
    link. Bound until the tunnel stops."""

    retry_policy = _LOCAL_RETRY

    def __init__(self, rule: Forward, carrier: Carrier) -> None:
        super().__init__(rule, carrier)
        self._local = LocalForward(
            rule,
            carrier.reactor,
            self._client_failed,
            carrier.on_waiting,
            carrier.profile,
            carrier.choose,
            carrier.log,
        )
        self._was_bound = False
        self._opening: asyncio.Task[None] | None = None
        self._inspect()

    @property
    def needs_link(self) -> bool:
        return False

    @property
    def is_awaited(self) -> bool:
        return self._local.is_awaited

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
        """The file of this unix socket was removed or replaced, so clients cannot find it: bind it
        again. No effect if `lost` is not the current listener."""
        if self.is_stopped or self._local.listener is not lost:
            return
        _log.warning("%s: %s was removed; listening again", self.owner, self._local.listening)
        self._local.withdraw()
        self._try()

    def open(self) -> None:
        if self._local.listening is None and not self.is_opening:
            self.tries.cancel()
            self._try()

    @property
    def is_opening(self) -> bool:
        """Whether the result of opening the listener is still open."""
        return self._opening is not None and not self._opening.done()

    async def settled(self) -> None:
        """Wait for that result, but not forever: a resolver or a disk may hang."""
        if self._opening is not None:
            await asyncio.wait([self._opening], timeout=ANSWER_SECONDS)

    async def close(self, drain: float) -> None:
        self.is_stopped = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        await super().close(drain)

    def _dial(self) -> AbstractAsyncContextManager[socket.socket]:
        if self._link is None:
            raise no_link_for_forward(self.rule.name)
        return dialled_through(self.rule, self._link, self._carrier.reactor)

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
            # If it listened before, the obstacle may pass, such as a missing folder.
            self._failed(failure.but(retryable=True) if self._was_bound else failure)
            keeper = keeper_of(self.rule.listen)
            if keeper is not None:  # a forward of ours, which may be about to move
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
