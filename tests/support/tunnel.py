"""A link with forwards on it, as the supervisor would make them, without the supervisor."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.here import here
from tunnelctl.errors import Failure
from tunnelctl.forward.client_connections import ConnectionLog
from tunnelctl.forward.local import LocalForward
from tunnelctl.forward.remote.remote_forward import RemoteForward
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import SecretRef
from tunnelctl.ssh.connect import connect
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.documents.connection_status import ConnectionList
from tunnelctl.supervisor.records.connection_list import ConnectionStatuses, WantedConnections


def no_secret(reference: SecretRef) -> str:
    """For hosts that need none."""
    raise AssertionError(f"asked for the secret {reference}")


class Tunnel:
    """One link at a time, and its forwards. `failures` are those of single connections."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.failures: list[Failure] = []
        self._link: Link | None = None
        self._forwards: list[LocalForward | RemoteForward] = []
        self._log = ConnectionLog()
        self._statuses = ConnectionStatuses(
            self._log,
            lambda: [
                (one.connections, [self.link] if self._link else []) for one in self._forwards
            ],
        )

    @property
    def link(self) -> Link:
        """The link that is up."""
        assert self._link is not None, "no link"
        return self._link

    async def connect(
        self, host: Host, resolve_secret: Callable[[SecretRef], str] = no_secret
    ) -> Link:
        """Make a (new) link; the caller attaches the forwards."""
        self._link = await connect(
            host,
            self.reactor,
            environment=here(),
            resolve_secret=resolve_secret,
            on_stage=lambda stage: None,
        )
        return self._link

    async def local(self, target: int | None, *, port: int = 0, **changes: Any) -> int:
        """Forward a local port to 127.0.0.1:`target` at the server, or to where a SOCKS client
        says; the port that listens."""
        return (await self.add(rule(Side.HERE, port, target, **changes))).port

    async def remote(self, target: int | None, *, port: int = 0, **changes: Any) -> int:
        """Forward a port of the server to 127.0.0.1:`target` here, or to where a SOCKS client
        says; the port that listens."""
        return (await self.add(rule(Side.THERE, port, target, **changes))).port

    async def add(self, wanted: Forward) -> Endpoint:
        """Open a forward of any kind; where it listens."""
        forward: LocalForward | RemoteForward
        if wanted.side is Side.HERE:
            forward = LocalForward(wanted, self.reactor, self.failures.append, log=self._log)
            self._forwards.append(forward)
            await forward.open()
            if self._link is not None:
                forward.attach(self._link)
        else:
            forward = RemoteForward(wanted, self.reactor, self.failures.append, log=self._log)
            await forward.open(self.link)
            self._forwards.append(forward)
        assert forward.listening is not None
        return forward.listening

    def forward(self, index: int = -1) -> LocalForward | RemoteForward:
        """One of the forwards, in the order they were made."""
        return self._forwards[index]

    def local_forward(self, index: int = -1) -> LocalForward:
        """The same, known to be a local one."""
        forward = self._forwards[index]
        assert isinstance(forward, LocalForward)
        return forward

    async def connections(self) -> ConnectionList:
        """The connections as every face would show them."""
        return await self._statuses.look(WantedConnections())

    def close_connection(self, number: str) -> bool:
        """Reset one of them by its id."""
        return self._statuses.close(number)

    async def close(self) -> None:
        """Forwards first, then the link."""
        for forward in reversed(self._forwards):
            await forward.close(0)
        if self._link is not None:
            self._link.close()
            await self._link.closed


def rule(side: Side, port: int, target: int | Endpoint | None, **changes: Any) -> Forward:
    """A forward between 127.0.0.1:`port` and `target`: a port of 127.0.0.1, or None for SOCKS."""
    forward = Forward(
        name="test",
        side=side,
        listen=Endpoint(LOOPBACK, port),
        target=Endpoint(LOOPBACK, target) if isinstance(target, int) else target,
        via="server",
    )
    return dataclasses.replace(forward, **changes)


@asynccontextmanager
async def tunnel_to(
    host: Host | None, *, use_epoll: bool | None = None, reactor: Reactor | None = None
) -> AsyncIterator[Tunnel]:
    """A tunnel, connected to `host` unless that is None; closed at the end, whatever happened.

    Tunnels of one process share its `reactor`; the one that is given none makes it.
    """
    own = None
    if reactor is None:
        own = reactor = Reactor(asyncio.get_running_loop(), use_epoll=use_epoll)
    tunnel = Tunnel(reactor)
    try:
        if host is not None:
            await tunnel.connect(host)
        yield tunnel
    finally:
        await tunnel.close()
        if own is not None:
            own.close()
