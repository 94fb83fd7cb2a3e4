"""The steps of `demo`: the product's own supervisor, and an SSH server to kill."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click

from tunnelctl import clock
from tunnelctl.cli import sentences
from tunnelctl.cli.demo.traffic import (
    TrafficService,
    Transfer,
    begin_to_receive,
    get,
    receive,
    send,
    wait_for_reset,
)
from tunnelctl.cli.terminal import progress
from tunnelctl.config.profile.find import find_profile
from tunnelctl.errors import Failure
from tunnelctl.home.paths import current_folder
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile
from tunnelctl.sshd.server import HELLO, EmbeddedServer
from tunnelctl.state.documents.snapshot import HostState, ProfileState, ProfileStatus
from tunnelctl.supervisor.supervisor import Supervisor
from tunnelctl.view.texts import milliseconds_text

_PROGRAM = "tunnelctl"
_NAME = "demo"
_STEP_WITHIN = 30.0  # seconds for each step
_CLOSE_WITHIN = 5.0


async def tell(count: int) -> None:
    """Run the demonstration with `count` bytes each way.

    Raises:
        Failure: a step did not do what the product promises.
    """
    # The demo prints the errors that it causes, so the log is discarded.
    logging.getLogger().addHandler(logging.NullHandler())
    async with _stage() as story:
        await story.come_up()
        await story.move_bytes(count)
        await story.break_and_mend()
    click.echo(f"The demo closed everything that it opened. Next: {_next()}")


def _next() -> str:
    """The commands that bring up a profile of the user in this folder, for the user's shell."""
    program = _program()
    try:
        find_profile("default", environ=os.environ, cwd=current_folder())
    except Failure:
        return f"{program} init && {program} up"
    return f"{program} up"


def _program() -> str:
    """The words that run this program where it is not in the PATH, as after bootstrap.py."""
    if shutil.which(_PROGRAM):
        return _PROGRAM
    started = Path(sys.argv[0])
    if started.name != _PROGRAM:
        return shlex.join([sys.executable, "-m", _PROGRAM])
    here = current_folder()
    return shlex.quote(str(started.relative_to(here) if started.is_relative_to(here) else started))


@asynccontextmanager
async def _stage() -> AsyncIterator[_Story]:
    """The parts of the demo, closed in the reverse order of their start."""
    async with AsyncExitStack() as stack:
        reactor = Reactor(asyncio.get_running_loop())
        stack.callback(reactor.close)
        traffic = TrafficService()
        stack.callback(traffic.close)
        server = EmbeddedServer(reactor)
        stack.push_async_callback(server.close)
        supervisor = Supervisor(reactor)
        stack.push_async_callback(supervisor.close, _CLOSE_WITHIN)
        await server.start()
        yield _Story(supervisor, server, traffic)


class _Story:
    """The steps. Each prints what it did and measured."""

    def __init__(
        self, supervisor: Supervisor, server: EmbeddedServer, traffic: TrafficService
    ) -> None:
        self._supervisor = supervisor
        self._server = server
        self._traffic = traffic

    async def come_up(self) -> None:
        """Start the server, and bring three forwards up."""
        _title("Starting an SSH server in this process, with forwards through it")
        _line(f"SSH server on {LOOPBACK}:{self._server.port}, host key {self._server.fingerprint}")
        began = clock.monotonic()
        await self._supervisor.up(self._profile(), Environment())
        status = await self._until(_is_up, sentences.tunnel_not_up)
        took = _ms(began)
        for line in progress.forwarding_lines(status):
            _line(line)
        host = status.hosts[0]
        _line(f"up after {took}: {host.kex}, {host.cipher}")
        answer = await asyncio.to_thread(get, self._port("hello"))
        _line(f"GET http://{LOOPBACK}:{self._port('hello')}/ through the tunnel: {answer}")

    async def move_bytes(self, count: int) -> None:
        """Send and receive through a local and a remote forward; compare by SHA-256."""
        _title("Transferring data in both directions, with client and server in this process")
        for name, meaning in (("local", "local forward"), ("back", "remote forward")):
            for direction, move in (("sent", send), ("received", receive)):
                transfer: Transfer = await asyncio.to_thread(move, self._port(name), count)
                _line(f"{meaning}, {direction}: {transfer}, SHA-256 matches")

    async def break_and_mend(self) -> None:
        """Kill the server during a download, connect a client, restart the server."""
        _title("Killing the server")
        port = self._port("hello")
        with await asyncio.to_thread(begin_to_receive, self._port("local")) as caught:
            killed = clock.monotonic()
            await self._server.kill()
            if not await asyncio.to_thread(wait_for_reset, caught):
                raise sentences.cut_taken_for_end()
            _line(f"an active download was reset after {_ms(killed)}, so it does not look complete")
        status = await self._until(_is_lost, sentences.loss_not_noticed)
        error = status.hosts[0].last_error
        _line(f"detected after {_ms(killed)}: {error.message if error else 'the session is lost'}")
        client = asyncio.create_task(asyncio.to_thread(get, port))
        try:
            await self._until(_is_refused, sentences.no_try_refused)
            _line(f"a new client of {LOOPBACK}:{port} is accepted and waits")
            await self._server.start()
            back = clock.monotonic()
            _line(f"the server was restarted on port {self._server.port} after {_ms(killed)}")
            answer = await client
        finally:
            client.cancel()
        _line(f"the waiting client was served {_ms(back)} later: {answer}")
        await self._until(_is_up, sentences.tunnel_not_up_again)
        if self._port("hello") != port:
            raise sentences.local_port_lost(port)
        _line(f"all forwards were up again {_ms(back)} after the restart, on the same local port")

    def _profile(self) -> Profile:
        def rule(name: str, side: Side, target: Endpoint) -> Forward:
            return Forward(name, side, Endpoint(LOOPBACK, 0), target, via=_NAME)

        service = Endpoint(LOOPBACK, self._traffic.port)
        return Profile(
            name=_NAME,
            source="",
            hosts=(self._server.client_host(Host(_NAME, LOOPBACK)),),
            forwards=(
                rule("hello", Side.HERE, HELLO),
                rule("local", Side.HERE, service),
                rule("back", Side.THERE, service),
            ),
        )

    def _status(self) -> ProfileStatus:
        status = self._supervisor.status_of(_NAME)
        assert status is not None
        return status

    def _port(self, forward: str) -> int:
        listen = next(f.listen for f in self._status().forwards if f.name == forward)
        return int(listen.rpartition(":")[2])

    async def _until(
        self, true: Callable[[ProfileStatus], bool], too_late: Callable[[float], Failure]
    ) -> ProfileStatus:
        """The first status for which `true` returns true; checked after every event.

        Raises:
            Failure: the one that `too_late` makes from the limit in seconds.
        """
        subscription = self._supervisor.subscribe()
        try:
            async with asyncio.timeout(_STEP_WITHIN):
                while not true(self._status()):
                    await anext(subscription)
        except TimeoutError:
            raise too_late(_STEP_WITHIN) from None
        finally:
            subscription.close()
        return self._status()


def _is_up(status: ProfileStatus) -> bool:
    return status.state is ProfileState.UP


def _is_lost(status: ProfileStatus) -> bool:
    return status.hosts[0].state is not HostState.UP


def _is_refused(status: ProfileStatus) -> bool:
    """At least one attempt to reconnect has failed."""
    return status.hosts[0].attempts > 1


def _ms(since: float) -> str:
    return milliseconds_text((clock.monotonic() - since) * 1000)


def _title(text: str) -> None:
    click.echo(f"\n{text}")


def _line(text: str) -> None:
    click.echo(f"  {text}")
