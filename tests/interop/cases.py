"""The rows of the matrix: what a tunnel needs of a server, each tried with a client.

A case returns when all went as it should, and raises DifferentError or a Failure otherwise. It
can be run by `ssh` too, unless it asks what only tunnelctl can be asked. `CASES` is all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.interop.clients import Client, DifferentError, Login, Opened, Timing
from tests.support.clients import exchange, receive_exactly
from tests.support.keys import KeyKind
from tests.support.ports import free_port, is_listening
from tests.support.servers.base import Server
from tests.support.services import (
    CHUNK,
    EchoService,
    Received,
    ReplyAfterEndService,
    SourceService,
    Stream,
    connect,
    receive,
)
from tests.support.threads import in_thread
from tests.support.tunnel import tunnel_to
from tests.support.unix_sockets import connected, echo_at
from tests.support.waiting import eventually_async
from tests.support.world import World, tunnel_text
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.ssh.link.link import Link
from tunnelctl.wire import messages

_SIZE = 8 * 1024 * 1024  # bytes
_REKEY_LIMIT = 1024 * 1024
_MANY = 100
_PATIENCE = 10.0  # seconds of silence after which a case hangs
_SOON = 4.0  # the same where some server is known to hang
_PROBES = 5
_ALIVE_INTERVAL = 0.3  # seconds; `ssh` has whole ones
_QUESTION = b"what is the time?"


@dataclass(frozen=True)
class Scene:
    """A server that runs, who talks to it, and a private user for the real command."""

    server: Server
    client: Client
    world: World


@dataclass(frozen=True)
class Case:
    """One row: `title` is for docs/servers.md."""

    title: str
    run: Callable[[Scene], Awaitable[None]]
    with_ssh: bool = True  # whether `ssh` can be put through it
    needs_forwards: bool = False  # tried only with a server that has them


# Logging in


async def _login(scene: Scene, how: Login) -> None:
    async with scene.client.login(scene.server, how):
        pass


async def _host_key(scene: Scene) -> None:
    """The right key is believed, no other, and none that nobody has recorded."""
    server = scene.server
    other = server.identities[KeyKind.ED25519].with_suffix(".pub").read_text().strip()
    for line, code in (
        (f"{server.pattern} {other}\n", Code.HOST_KEY_CHANGED),
        ("", Code.HOST_KEY_UNKNOWN),
    ):
        known_hosts = server.directory / f"known_hosts.{code.value}"
        known_hosts.write_text(line)
        try:
            async with tunnel_to(server.host(user_known_hosts_file=(str(known_hosts),))):
                raise DifferentError("believed")
        except Failure as failure:
            if failure.code is not code:
                raise
    async with tunnel_to(server.host()):
        pass


# Local forwards


async def _both_ways(port: int) -> None:
    """Send much to an echo, and have all of it back, while it is sent."""
    stream = Stream(_SIZE)
    with connect(port, _PATIENCE) as connection:
        digest, sent = await asyncio.gather(
            in_thread(_receive_all, connection, stream.size),
            in_thread(stream.send, connection),
            return_exceptions=True,
        )
    # A reset is told to whoever asks first; the other then sees the end of the stream.
    for error in (sent, digest):
        if isinstance(error, BaseException):
            raise error
    assert digest == sent, "other bytes than were sent"


def _receive_all(connection: socket.socket, size: int) -> str:
    """Read `size` bytes; their sha256.

    Raises:
        EOFError: the stream ended before.
    """
    digest = hashlib.sha256()
    while size:
        piece = connection.recv(min(size, CHUNK))
        if not piece:
            raise EOFError
        size -= len(piece)
        digest.update(piece)
    return digest.hexdigest()


def _compare(received: Received, stream: Stream) -> None:
    """That all of it came, and then FIN."""
    if received.size != stream.size:
        raise ConnectionResetError if received.end == "reset" else EOFError
    assert received.sha256 == stream.sha256, "other bytes than were sent"
    if received.end != "fin":
        raise DifferentError(f"all bytes, then {received.end}")


async def _local(scene: Scene) -> None:
    with EchoService() as echo:
        target = Endpoint(LOOPBACK, echo.port)
        async with scene.client.local(scene.server, target) as opened:
            await _both_ways(opened.port)


async def _rekey(scene: Scene) -> None:
    with EchoService() as echo:
        target = Endpoint(LOOPBACK, echo.port)
        timing = Timing(rekey_limit=_REKEY_LIMIT)
        async with scene.client.local(scene.server, target, timing) as opened:
            await _both_ways(opened.port)


async def _answer(scene: Scene) -> None:
    """The target ends the stream, and the client says nothing: all of it, then FIN."""
    stream = Stream(_SIZE)
    with SourceService(stream) as source:
        target = Endpoint(LOOPBACK, source.port)
        async with scene.client.local(scene.server, target) as opened:
            with connect(opened.port, _PATIENCE) as connection:
                _compare(await in_thread(receive, connection), stream)


async def _half_close(scene: Scene) -> None:
    """The answer comes after the client's FIN."""
    with ReplyAfterEndService(lambda asked: asked[::-1]) as service:
        target = Endpoint(LOOPBACK, service.port)
        async with scene.client.local(scene.server, target) as opened:
            with connect(opened.port, _SOON) as connection:
                connection.sendall(_QUESTION)
                connection.shutdown(socket.SHUT_WR)
                answer = await in_thread(receive_exactly, connection, len(_QUESTION))
        assert answer == _QUESTION[::-1]


async def _refused(scene: Scene) -> None:
    """Nobody listens at the target: the client is reset, and status says why."""
    async with scene.client.local(scene.server, Endpoint(LOOPBACK, free_port())) as opened:
        with connect(opened.port, _PATIENCE) as connection:
            end = (await in_thread(receive, connection)).end
        told = await _reason(opened, f"opened, then {end}")
        if told != Code.TARGET_REFUSED.value:
            raise DifferentError(told)


async def _unix(scene: Scene) -> None:
    """To a unix socket there."""
    with echo_at(_new_path(scene)) as target:
        async with scene.client.local(scene.server, target) as opened:
            try:
                await _exchange(opened)
            except (EOFError, ConnectionError):
                raise DifferentError(await _reason(opened, "opened, then closed")) from None


async def _many(scene: Scene) -> None:
    """So many connections at once, each with bytes of its own."""
    all_answered = asyncio.Event()
    answered: list[int] = []
    failed: list[int] = []

    async def one(port: int, number: int) -> None:
        with connect(port, _PATIENCE) as connection:
            message = b"%08d" % number
            try:
                assert await in_thread(exchange, connection, message) == message
                answered.append(number)
            except (EOFError, ConnectionError):
                failed.append(number)
            if len(answered) + len(failed) == _MANY:
                all_answered.set()
            await all_answered.wait()

    with EchoService() as echo:
        target = Endpoint(LOOPBACK, echo.port)
        async with scene.client.local(scene.server, target) as opened:
            await asyncio.gather(*(one(opened.port, number) for number in range(_MANY)))
    if failed:
        raise DifferentError(f"{len(failed)} of {_MANY} were refused")


# Remote forwards


async def _remote(scene: Scene) -> None:
    with EchoService() as echo:
        listen = Endpoint(LOOPBACK, free_port())
        async with scene.client.remote(scene.server, listen, echo.port) as opened:
            await _both_ways(opened.port)


async def _remote_port_0(scene: Scene) -> None:
    """The server chooses the port, and says which."""
    with EchoService() as echo:
        listen = Endpoint(LOOPBACK, 0)
        async with scene.client.remote(scene.server, listen, echo.port) as opened:
            await _exchange(opened)


async def _remote_unix(scene: Scene) -> None:
    """A unix socket there."""
    listen = Endpoint(path=str(_new_path(scene)))
    with EchoService() as echo:
        async with scene.client.remote(scene.server, listen, echo.port):
            with connected(listen) as connection:
                assert await in_thread(exchange, connection, _QUESTION) == _QUESTION


async def _cancel(scene: Scene) -> None:
    """A cancelled listener is closed."""
    port = free_port()
    with EchoService() as echo:
        listen = Endpoint(LOOPBACK, port)
        async with scene.client.remote(scene.server, listen, echo.port) as opened:
            opened.cancel()
            try:
                await eventually_async(lambda: not is_listening(port), "it listens no more", _SOON)
            except AssertionError:
                raise DifferentError("listener stays open") from None


async def _again(scene: Scene) -> None:
    """As `reload` does it for another target: clients get to that one."""
    port = free_port()
    stream = Stream(len(_QUESTION))
    with EchoService() as first, SourceService(stream) as second:
        async with tunnel_to(scene.server.host()) as tunnel:
            await tunnel.remote(first.port, port=port)
            await tunnel.forward().close(0)
            await tunnel.remote(second.port, port=port)
            with connect(port, _PATIENCE) as connection:
                _compare(await in_thread(receive, connection), stream)


async def _cancel_none(scene: Scene) -> None:
    """The refusal is all that happens: the link lives on."""
    async with tunnel_to(scene.server.host()) as tunnel:
        wanted = messages.tcpip_forward(LOOPBACK, free_port())
        if await _request(tunnel.link, "cancel-tcpip-forward", wanted) is not None:
            raise DifferentError("reported as done")
        if tunnel.link.closed.done():
            raise tunnel.link.closed.result()


# The link


async def _keepalive(scene: Scene) -> None:
    """Each question is answered: a server that is silent then would be taken for a dead one."""
    async with tunnel_to(scene.server.host(server_alive_interval=0)) as tunnel:
        for _ in range(_PROBES):
            await _request(tunnel.link, "keepalive@openssh.com", b"")
        if tunnel.link.closed.done():
            raise tunnel.link.closed.result()


async def _request(link: Link, name: str, data: bytes) -> bytes | None:
    """Send a global request; the answer to it, None when it was refused."""
    return await asyncio.wait_for(link.ask(name, data, lambda reply: reply.data), _SOON)


async def _silent(scene: Scene) -> None:
    """A stopped process acknowledges what it is sent, and never answers."""
    timing = Timing(alive_interval=_ALIVE_INTERVAL)
    target = Endpoint(LOOPBACK, free_port())
    async with scene.client.local(scene.server, target, timing) as opened:
        scene.server.family.pause()
        try:
            ended = await eventually_async(opened.ended, "the link ends")
        finally:
            scene.server.family.resume()
        if ended != Code.PEER_SILENT.value and "not responding" not in str(ended):
            raise DifferentError(str(ended))


async def _killed(scene: Scene) -> None:
    """With the real command: a client is reset, the next one is served when the server is back."""
    world, port = scene.world, free_port()
    server = type(scene.server)(world.home / "server")
    host = server.host_yaml(reconnect="{min: 100ms, max: 500ms}", ssh_config="false")
    server.start()
    try:
        with EchoService() as echo:
            world.profile("dev", tunnel_text(host, db=f"local: {port}, to: {echo.port}"))
            await in_thread(world.run, "up", "dev", "-d")
            with connect(port, _PATIENCE) as connection:
                await in_thread(exchange, connection, _QUESTION)
                server.kill()
                end = (await in_thread(receive, connection)).end
            if end != "reset":
                raise DifferentError(f"the client saw {end}")
            server.start()
            with connect(port, _PATIENCE) as connection:
                await in_thread(exchange, connection, _QUESTION)
    finally:
        await in_thread(world.run, "down", "--all")
        server.stop()


# What cases share


def _new_path(scene: Scene) -> Path:
    """For a unix socket, where the server sees it too."""
    return Path(tempfile.mkdtemp(dir=scene.server.directory)) / "socket"


async def _exchange(opened: Opened) -> None:
    with connect(opened.port, _PATIENCE) as connection:
        assert await in_thread(exchange, connection, _QUESTION) == _QUESTION


async def _reason(opened: Opened, otherwise: str) -> str:
    """Why the first client was refused, or the link ended; `otherwise` when nobody says."""
    try:
        told = await eventually_async(lambda: opened.refusal() or opened.ended(), "told why", 2)
    except AssertionError:
        return otherwise
    return str(told)


_forwarding = partial(Case, needs_forwards=True)

CASES = {
    "login-ed25519": Case("login with an ed25519 key", partial(_login, how=Login.ED25519)),
    "login-rsa": Case("login with an RSA key", partial(_login, how=Login.RSA)),
    "login-password": Case("login with a password", partial(_login, how=Login.PASSWORD)),
    "host-key": Case("unknown and changed host keys are refused", _host_key, with_ssh=False),
    "local": Case("local forward, 8 MB each way", _local),
    "answer": _forwarding("8 MB from the target, then its FIN", _answer),
    "half-close": _forwarding("answer after the client's FIN (half-close)", _half_close),
    "refused": _forwarding("refused target is reported as `target-refused`", _refused),
    "unix": _forwarding("local forward to a unix socket", _unix),
    "many": _forwarding("100 connections at once", _many),
    "remote": _forwarding("remote forward, 8 MB each way", _remote),
    "remote-port-0": _forwarding("remote forward, port chosen by the server", _remote_port_0),
    "remote-unix": _forwarding("remote forward of a unix socket", _remote_unix),
    "cancel": _forwarding("cancelling a remote forward closes its listener", _cancel),
    "again": _forwarding(
        "remote forward closed and opened again on one link", _again, with_ssh=False
    ),
    "cancel-none": _forwarding(
        "cancelling an unknown remote forward is refused", _cancel_none, with_ssh=False
    ),
    "keepalive": Case("`keepalive@openssh.com` is answered", _keepalive, with_ssh=False),
    "silent": Case("server that stops answering is noticed", _silent),
    "rekey": _forwarding("rekey every 1 MB under load", _rekey),
    "killed": _forwarding(
        "killed server: clients are reset, then reconnect", _killed, with_ssh=False
    ),
}


def cases_for(server: type[Server]) -> list[str]:
    """The names of the cases that a server is put through."""
    return [name for name, case in CASES.items() if server.forwards or not case.needs_forwards]
