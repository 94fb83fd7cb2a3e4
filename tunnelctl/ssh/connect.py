"""From a host of a profile to an authenticated link on the event loop.

Owns the order: dial, handshake in a worker thread, take over. Must never leave a socket or a
thread behind when a step fails or the caller cancels.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.host import Host, SecretRef
from tunnelctl.ssh.dial import dial
from tunnelctl.ssh.handshake import Stage, handshake
from tunnelctl.ssh.link import Link, LinkSettings
from tunnelctl.ssh.remote_opens import RemoteOpens
from tunnelctl.ssh.transport import SshTransport
from tunnelctl.wire import messages

__all__ = ["Stage", "connect"]


async def connect(
    host: Host,
    reactor: Reactor,
    *,
    resolve_secret: Callable[[SecretRef], str],
    on_stage: Callable[[Stage], None],
) -> Link:
    """Connect to `host` within its `connect_timeout` seconds.

    Raises:
        Failure: with the step that failed; nothing is left open.
    """
    loop = reactor.loop
    deadline = clock.monotonic() + host.connect_timeout
    on_stage(Stage.CONNECTING)
    sock = await dial(host, deadline)

    def stage_from_thread(stage: Stage) -> None:
        loop.call_soon_threadsafe(on_stage, stage)

    work = loop.run_in_executor(
        None,
        functools.partial(handshake, host, sock, resolve_secret, stage_from_thread, deadline),
    )
    try:
        transport = await asyncio.shield(work)
    except asyncio.CancelledError:
        _abandon(sock, work)
        raise
    settings = LinkSettings(
        title=f"{host.name} ({host.address})",
        server_alive_interval=host.server_alive_interval,
        server_alive_count_max=host.server_alive_count_max,
        rekey_limit=host.rekey_limit,
    )
    try:
        link = await attach(reactor, sock, transport, settings)
    except BaseException:
        loop.run_in_executor(None, transport.close)
        raise
    if link.info.server.startswith("OpenSSH"):
        # A tunnel never opens a session; let the server hold us to it (OpenSSH PROTOCOL 2.2).
        link.stream.send(messages.global_request("no-more-sessions@openssh.com", False))
    return link


async def attach(
    reactor: Reactor, sock: socket.socket, transport: SshTransport, settings: LinkSettings
) -> Link:
    """Take over the socket of an authenticated transport, once its thread has parked."""
    await parked(reactor.loop, transport)
    return Link(reactor, sock, transport, settings, RemoteOpens)


async def parked(loop: asyncio.AbstractEventLoop, transport: SshTransport) -> None:
    """Wait until the thread of an authenticated transport leaves its socket alone."""
    event = asyncio.Event()

    def tell() -> None:
        loop.call_soon_threadsafe(event.set)

    transport.packetizer.when_parked(tell)
    await event.wait()


def _abandon(sock: socket.socket, work: asyncio.Future[SshTransport]) -> None:
    """End a handshake that nobody waits for: without its socket it fails at once."""
    with contextlib.suppress(OSError):  # it failed by itself meanwhile
        sock.shutdown(socket.SHUT_RDWR)

    def close(done: asyncio.Future[SshTransport]) -> None:
        if not done.cancelled() and done.exception() is None:
            done.result().close()

    work.add_done_callback(close)
