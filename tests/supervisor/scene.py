"""A supervisor with real links to an SSH server in this process, and the words to ask about it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tests.support.here import here
from tests.support.ports import free_port
from tests.support.services import EchoService
from tests.support.waiting import eventually_async
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host, Reconnect
from tunnelctl.spec.profile import Profile
from tunnelctl.sshd.server import HELLO, EmbeddedServer
from tunnelctl.state.documents.snapshot import (
    ForwardState,
    ForwardStatus,
    HostState,
    HostStatus,
    ProfileState,
    ProfileStatus,
)
from tunnelctl.state.documents.status_events import StatusEvent
from tunnelctl.supervisor.supervisor import Supervisor

SOON = Reconnect(min=0.05, max=0.2)
# With a jitter near 1 the next try comes after minutes: whatever comes sooner was not the timer.
LATE = Reconnect(min=600, max=600)


class Scene:
    """`server` runs; what `supervisor` does with it is told by `events`."""

    def __init__(self, reactor: Reactor, server: EmbeddedServer, supervisor: Supervisor) -> None:
        self.reactor = reactor
        self.server = server
        self.supervisor = supervisor
        self._told: list[StatusEvent] = []
        self._subscription = supervisor.subscribe()

    def host(self, name: str = "server", **changes: Any) -> Host:
        """A host that reaches the server."""
        host = Host(name, "", reconnect=SOON, connect_timeout=10)
        return replace(self.server.client_host(host), **changes)

    def profile(self, *forwards: Forward, name: str = "dev", host: Host | None = None) -> Profile:
        """A profile with one host."""
        return Profile(name, f"{name}.yaml", (host or self.host(),), forwards)

    async def up(self, profile: Profile, environment: Environment | None = None) -> None:
        """Bring it up, and wait until it is."""
        await self.supervisor.up(profile, environment or here())
        await self.until(ProfileState.UP, profile.name)

    async def until(self, state: ProfileState, name: str = "dev") -> None:
        """Wait until the profile is in that state."""
        await eventually_async(lambda: self.status(name).state is state, f"{name} is {state}")

    async def until_host(self, state: HostState, name: str = "server") -> HostStatus:
        """Wait until the host is in that state."""
        await eventually_async(lambda: self.host_status(name).state is state, f"{name} is {state}")
        return self.host_status(name)

    async def until_forward(self, name: str, state: ForwardState) -> ForwardStatus:
        """Wait until the forward is in that state."""
        await eventually_async(lambda: self.forward(name).state is state, f"{name} is {state}")
        return self.forward(name)

    async def until_refused(self, name: str) -> ForwardStatus:
        """Wait until the forward's listener could not be had, and its next try is known."""

        def refused() -> ForwardStatus | None:
            status = self.forward(name)
            is_refused = status.state is ForwardState.FAILED and status.next_retry_at is not None
            return status if is_refused else None

        status = await eventually_async(refused, f"{name} waits for its next try")
        assert status is not None
        return status

    def status(self, name: str = "dev") -> ProfileStatus:
        """A profile that was up once."""
        status = self.supervisor.status_of(name)
        assert status is not None
        return status

    def host_status(self, name: str = "server", profile: str = "dev") -> HostStatus:
        """One host."""
        return next(h for h in self.status(profile).hosts if h.name == name)

    def forward(self, name: str, profile: str = "dev") -> ForwardStatus:
        """One forward."""
        return next(f for f in self.status(profile).forwards if f.name == name)

    def port(self, name: str, profile: str = "dev") -> int:
        """The port on which a forward listens."""
        return int(self.forward(name, profile).listen.rpartition(":")[2])

    async def greeting(self, name: str) -> bytes:
        """What the service behind a forward says first to a new client."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port(name))
        try:
            async with asyncio.timeout(20):
                return await reader.read(4096)
        finally:
            writer.transport.abort()

    async def until_told(
        self, name: str, state: str, times: int = 1, *, seconds: float = 20.0
    ) -> None:
        """Wait until events said so often that `name` (see `states`) is in `state`."""
        told = f"{name or 'profile'} told {state}"
        await eventually_async(lambda: self.states(name).count(state) >= times, told, seconds)

    def states(self, name: str) -> list[str]:
        """What a host, forward or (as "") a profile went through."""
        return [event.state for event in self.events if event.name == name]

    @property
    def events(self) -> list[StatusEvent]:
        """All that was told until now, also what `record` would read in the next turn."""
        while True:
            step = aiter(self._subscription).__anext__()
            try:
                step.send(None)
            except StopIteration as held:
                self._told.append(held.value)
            except StopAsyncIteration:
                return self._told
            else:  # it would wait
                step.close()
                return self._told

    async def record(self) -> None:
        """Keep every event, before there are more than a subscription holds."""
        async for event in self._subscription:
            self._told.append(event)


@asynccontextmanager
async def scene(**arguments: Any) -> AsyncIterator[Scene]:
    """A scene; `arguments` are those of `Supervisor`. All is closed at the end."""
    reactor = Reactor(asyncio.get_running_loop())
    server = EmbeddedServer(reactor)
    server.port = free_port()  # one to which it can come back
    supervisor = Supervisor(reactor, **arguments)
    scene = Scene(reactor, server, supervisor)
    recorder = asyncio.create_task(scene.record())
    try:
        await server.start()
        yield scene
    finally:
        await supervisor.close(10)
        await recorder
        await server.close()
        reactor.close()


def local(name: str = "web", port: int = 0, target: Endpoint = HELLO, **changes: Any) -> Forward:
    """Clients come here; the target is the server's own hello service unless given."""
    rule = Forward(name, Side.HERE, Endpoint(LOOPBACK, port), target, "server")
    return replace(rule, **changes)


def remote(name: str, port: int, target: int, **changes: Any) -> Forward:
    """Clients come to the server's `port`; the target is 127.0.0.1:`target` here."""
    rule = Forward(name, Side.THERE, Endpoint(LOOPBACK, port), Endpoint(LOOPBACK, target), "server")
    return replace(rule, **changes)


class Client:
    """A connection that asks the hello service, or echoes, as often as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self) -> bytes:
        """The answer to an HTTP request, to its end."""
        self._writer.write(b"GET / HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(20):
            return await self._reader.read()

    def send(self, data: bytes) -> None:
        """Send without waiting for anything."""
        self._writer.write(data)

    async def echo(self, text: bytes) -> bytes:
        """What comes back from an echo service."""
        self._writer.write(text)
        async with asyncio.timeout(20):
            return await self._reader.readexactly(len(text))

    async def is_reset(self) -> bool:
        """Wait for the end; whether it was a reset, not an orderly one."""
        try:
            async with asyncio.timeout(20):
                await self._reader.read()
        except ConnectionResetError:
            return True
        return False


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    """A connection to 127.0.0.1:`port`."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def hello(port: int) -> bytes:
    """What the service behind a port says to a new client."""
    async with client(port) as one:
        return await one.get()


@asynccontextmanager
async def taken_port() -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """A port that somebody listens on, and how to make them stop."""
    with socket.create_server((LOOPBACK, free_port())) as holder:
        yield holder.getsockname()[1], holder.close


@asynccontextmanager
async def echo_service() -> AsyncIterator[int]:
    """The port of a service here that sends back what it is sent."""
    with EchoService() as service:
        yield service.port
