"""From a host of a profile to an authenticated link on the event loop.

Owns the order: the way there (jump hosts, a program, a proxy, or direct), the handshake in a thread
of its own, the handover to the loop. Must never leave a socket, a thread, a process or a hop behind
when a step fails or the caller cancels, and never hold a turn while it waits for a hop, which needs
one too.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.net import forked
from tunnelctl.net.endings import shut_down
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.threads import in_thread, shielded
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host, SessionType
from tunnelctl.spec.secret import ResolveSecret
from tunnelctl.ssh.chain import chain, nearest_hop, of_hop
from tunnelctl.ssh.disruptions import Disruptions
from tunnelctl.ssh.keys.credentials import Logins
from tunnelctl.ssh.keys.key_files import key_type
from tunnelctl.ssh.link.info import LinkSettings
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.remote_opens import RemoteOpens
from tunnelctl.ssh.link.session import wants_session
from tunnelctl.ssh.link.way import DIRECT, Way
from tunnelctl.ssh.login.auth import user_of
from tunnelctl.ssh.login.handshake import Stage, handshake, read_host_key
from tunnelctl.ssh.milestones import Milestone, Passed, Trace, Warn, logged, untraced
from tunnelctl.ssh.packets.greeting import greet, spoken
from tunnelctl.ssh.packets.transport import SshTransport
from tunnelctl.ssh.questions import Asking, nobody
from tunnelctl.ssh.reach import proxy_command
from tunnelctl.ssh.reach.dial import dial
from tunnelctl.ssh.reach.jump import HopLease, Hops
from tunnelctl.ssh.reach.proxies import dial_through
from tunnelctl.ssh.reach.proxy_command import ProxyCommand
from tunnelctl.ssh.sentences import label, login_waits
from tunnelctl.ssh.silence import OnSilence, unheard
from tunnelctl.ssh.turns import TakenTurn, Turn, at_once
from tunnelctl.wire import messages

__all__ = ["Stage", "connect", "fetch_host_key"]

T = TypeVar("T")


async def connect(
    host: Host,
    reactor: Reactor,
    *,
    environment: Environment,
    resolve_secret: ResolveSecret,
    on_stage: Callable[[Stage], None],
    asking: Asking = nobody,
    hops: Hops | None = None,
    turn: Turn = at_once,
    trace: Trace = untraced,
    logins: Logins | None = None,
    moments: Disruptions | None = None,
    warn: Warn = logged,
    on_silence: OnSilence = unheard,
    patience: float | None = None,
) -> Link:
    """Connect to `host` within its `connect_timeout` seconds, and to its jump hosts within theirs;
    a `proxy_command` has longer for its first byte (ssh/reach/proxy_command.py).

    `environment` is the caller's: programs run in it, and it names the agent. `hops` has the shared
    jump links; without it the link has its own. Each attempt waits for its `turn` first, and each
    handshake for its place, which no deadline counts. `asking` answers a host's questions
    (ssh/questions.py). `logins` remembers what logged in before. At `moments`, what has been silent
    for too long is abandoned (reach/proxy_command.py). `warn` gets problems of a host, or a hop,
    that did not stop the login. `on_silence` is called for a login, on any hop, that waits for a
    person or an agent for `connect_timeout`, and for a `proxy_command` that is silent for that
    long; after `patience` seconds, ten minutes by default, that is abandoned.

    Raises:
        Failure: with the step, and the hop, that failed; nothing is left open.
    """
    caller = _Caller(
        reactor,
        environment,
        resolve_secret,
        asking,
        hops or Hops(),
        turn,
        trace,
        logins or Logins(),
        moments or Disruptions(),
        warn,
        proxy_command.PATIENCE if patience is None else patience,
    )
    return await caller.link(host, on_stage, on_silence)


async def fetch_host_key(
    host: Host,
    environment: Environment,
    resolve_secret: ResolveSecret,
    on_silence: OnSilence = unheard,
) -> tuple[str, bytes]:
    """The host key of `host`, as type and blob; nobody is authenticated there, and nothing
    recorded.

    It is the key that `connect` would see, by the same way: jump hosts are logged in to, and their
    own keys must be known. Because somebody waits, a silent `proxy_command`, for which `on_silence`
    is called, is abandoned after AT_A_TERMINAL (reach/proxy_command.py).

    Raises:
        Failure: the host cannot be reached or talked to.
    """
    reactor = Reactor(asyncio.get_running_loop())
    caller = _Caller(
        reactor,
        environment,
        resolve_secret,
        nobody,
        Hops(),
        at_once,
        untraced,
        Logins(),
        Disruptions(),
        logged,
        proxy_command.AT_A_TERMINAL,
    )
    try:
        async with caller.reached(host, on_silence) as reached:
            look = functools.partial(
                read_host_key, host, reached.sock, environment, reached.deadline
            )
            try:
                name = f"host key of {host.name}"
                blob = await shielded(_with_socket(reached.sock, look, name))
            finally:
                shut_down(reached.sock)  # if nobody waits any more, `look` notices and closes it
        reached.way.close()
        await reached.way.wait_closed()
    finally:
        reactor.close()
    return key_type(blob), blob


async def attach(
    reactor: Reactor,
    sock: socket.socket,
    transport: SshTransport,
    settings: LinkSettings,
    way: Way = DIRECT,
) -> Link:
    """Take over the socket of an authenticated transport, once its thread has parked."""
    await parked(reactor.loop, transport)
    return Link(reactor, sock, transport, settings, RemoteOpens, way)


async def parked(loop: asyncio.AbstractEventLoop, transport: SshTransport) -> None:
    """Wait until the thread of an authenticated transport leaves its socket alone."""
    event = asyncio.Event()

    def tell() -> None:
        loop.call_soon_threadsafe(event.set)

    transport.packetizer.when_parked(tell)
    await event.wait()


@dataclass(frozen=True, slots=True)
class _Reached:
    """A connection on which both sides have begun to speak; the server's bytes are to be read."""

    sock: socket.socket
    way: Way
    deadline: float


@dataclass(frozen=True, slots=True)
class _Caller:
    """The resources that a connection shares with all its hops."""

    reactor: Reactor
    environment: Environment
    resolve_secret: ResolveSecret
    asking: Asking
    hops: Hops
    turn: Turn
    trace: Trace
    logins: Logins
    moments: Disruptions
    warn: Warn
    patience: float  # seconds for a program without output

    async def link(
        self,
        host: Host,
        on_stage: Callable[[Stage], None],
        on_silence: OnSilence,
        *,
        is_hop: bool = False,
    ) -> Link:
        """An authenticated link to `host`."""
        on_stage(Stage.CONNECTING)
        async with self.reached(host, on_silence, is_hop=is_hop) as reached:

            def waits(failure: Failure) -> None:
                on_silence(of_hop(host, failure) if is_hop else failure)

            transport = await self._log_in(host, reached, on_stage, waits)
            # The socket's own address is the host's only on a direct connection.
            settings = LinkSettings(
                title=label(host),
                hop=host.name if is_hop else "",
                address="" if host.is_direct else host.address,
                server_alive_interval=host.server_alive_interval,
                server_alive_count_max=host.server_alive_count_max,
                rekey_limit=host.rekey_limit,
                session_type=SessionType.NONE if is_hop else host.session_type,
            )
            try:
                link = await attach(self.reactor, reached.sock, transport, settings, reached.way)
            except BaseException:
                in_thread(transport.close, f"close {host.name}")
                raise
        if isinstance(reached.way, HopLease):
            reached.way.on_lost(link.close)
        needs_session = wants_session(link) or (host.runs_commands and not is_hop)
        if link.info.software.is_openssh and not needs_session:
            # We open no session; let the server hold us to it (OpenSSH PROTOCOL 2.2).
            link.stream.send(messages.global_request("no-more-sessions@openssh.com", False))
        return link

    async def _hop_link(self, hop: Host, on_silence: OnSilence) -> Link:
        return await self.link(hop, lambda _: None, on_silence, is_hop=True)

    @asynccontextmanager
    async def reached(
        self, host: Host, on_silence: OnSilence, *, is_hop: bool = False
    ) -> AsyncIterator[_Reached]:
        """A connection to `host`, and its turn. If the body fails, the way is closed; the body
        closes the socket."""
        lease: HopLease | None = None
        if host.proxy_jump:
            hop = nearest_hop(host)
            make = functools.partial(self._hop_link, hop)
            lease = await self.hops.lease(hop, self.resolve_secret, make, on_silence)
            for passed in chain(hop):
                self.logins.passed(passed)
        way: Way = lease or DIRECT
        try:
            async with self.turn(host) as place:
                if host.proxy_command:
                    await place.work()  # a program costs more than a TCP connection
                deadline = clock.monotonic() + host.connect_timeout
                sock, way = await self._open(host, lease, deadline)

                def silent(failure: Failure) -> None:
                    place.give_back()
                    on_silence(of_hop(host, failure) if is_hop else failure)

                left = await self._first_word(host, sock, way, place, deadline, silent)
                yield _Reached(sock, way, clock.monotonic() + left)
        except BaseException as error:
            way.close()
            await way.wait_closed()
            if not isinstance(error, Failure):
                raise
            failure = way.explain(error)
            raise (of_hop(host, failure) if is_hop else failure) from None

    async def _open(
        self, host: Host, lease: HopLease | None, deadline: float
    ) -> tuple[socket.socket, Way]:
        connected = functools.partial(self.trace, host, Milestone.CONNECTION)
        if lease is not None:
            through = Passed(f"through {label(nearest_hop(host))}")
            return lease.open(host, functools.partial(connected, through)), lease
        if host.proxy_command:
            user = await in_thread(lambda: user_of(host), "who we are")
            command = await ProxyCommand.start(host, user, self.environment)
            connected(Passed(f"{command.name} runs"))
            return command.sock, command
        if host.proxy is not None:
            sock = await dial_through(host, host.proxy, self.resolve_secret, deadline)
            connected(Passed(f"through proxy {host.proxy}"))
            return sock, DIRECT
        return await dial(host, deadline, self.trace), DIRECT

    async def _first_word(
        self,
        host: Host,
        sock: socket.socket,
        way: Way,
        place: TakenTurn,
        deadline: float,
        on_silence: OnSilence,
    ) -> float:
        """Wait for the server's first byte, then for a place to work; returns the seconds that are
        left.

        The wait for the place is not counted. A program may have to ask a person before its first
        byte. The socket is closed if this fails.
        """
        try:
            greet(sock)
            if isinstance(way, ProxyCommand):
                await way.spoken(on_silence, self.moments, self.patience)
                left = host.connect_timeout
            else:
                await spoken(sock, host, deadline)
                left = deadline - clock.monotonic()
            await place.work()
        except BaseException:
            sock.close()
            raise
        return left

    async def _log_in(
        self,
        host: Host,
        reached: _Reached,
        on_stage: Callable[[Stage], None],
        on_silence: OnSilence,
    ) -> SshTransport:
        """The handshake, in a thread. `connect_timeout` does not count the time that a person or an
        agent takes, so a login that is longer than that waits for one of them."""
        loop = self.reactor.loop
        began = clock.monotonic()

        def stage_from_thread(stage: Stage) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(on_stage, stage)

        sock = reached.sock
        with self.asking(host) as ask:
            log_in = functools.partial(
                handshake,
                host,
                sock,
                self.environment,
                self.resolve_secret,
                stage_from_thread,
                reached.deadline,
                ask,
                self.trace,
                self.logins,
                self.warn,
                greeted=True,
            )
            work = _with_socket(sock, log_in, f"handshake with {host.name}")

            timer: asyncio.TimerHandle

            def tell() -> None:
                nonlocal timer
                timer = loop.call_later(host.connect_timeout, tell)
                on_silence(login_waits(host, clock.monotonic() - began))

            timer = loop.call_later(host.connect_timeout, tell)
            try:
                return await shielded(work)
            except asyncio.CancelledError:
                _abandon(sock, work)
                raise
            finally:
                timer.cancel()


def _with_socket(sock: socket.socket, work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """`in_thread` for work that owns the socket from its start; if no thread starts, it is
    closed."""
    forked.in_threads.add(sock)
    try:
        return in_thread(work, name)
    except Failure:
        sock.close()
        raise


def _abandon(sock: socket.socket, work: asyncio.Future[SshTransport]) -> None:
    """End a handshake that nobody waits for: without its socket it fails at once."""
    shut_down(sock)

    def close(done: asyncio.Future[SshTransport]) -> None:
        if not done.cancelled() and done.exception() is None:
            done.result().close()

    work.add_done_callback(close)
