"""An SSH server in this process, on 127.0.0.1: `embedded: true` in a profile.

Owns throw-away keys: the server accepts one client key, the client one server key, and neither key
is ever used again. Must never listen off loopback, nor accept any other key or a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import logging
import socket
import threading

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL

from tunnelctl import clock
from tunnelctl.forward.listener import Listener
from tunnelctl.net.endings import reset_when_killed
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.host import Host
from tunnelctl.ssh.connect import parked
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.keys.throw_away import ThrowAwayFile
from tunnelctl.ssh.link.info import LinkSettings
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.packets.transport import SshTransport
from tunnelctl.sshd.hello import HelloService
from tunnelctl.sshd.server_session import ServerSession

_log = logging.getLogger("tunnelctl.sshd")

USER = "demo"
HELLO = Endpoint("hello", 80)  # the host name under which clients reach the HelloService
_HANDSHAKE_SECONDS = 15.0


class EmbeddedServer:
    """See the module's text. `kill` followed by `start` looks like a server that crashed."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._host_key = _new_key()
        self._client_key = _new_key()
        self._client_public = _paramiko_key(self._client_key)
        self._hello = HelloService()
        self._listener: Listener | None = None
        self._identity: ThrowAwayFile | None = None
        self._links: dict[Link, tuple[socket.socket, ServerSession]] = {}
        self._joining: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        """Listen; the second time on the same port.

        Raises:
            Failure: another program uses the port meanwhile.
        """
        if not self._hello.port:
            await self._hello.start()
        self._listener = await Listener.open(
            self._reactor, Endpoint(LOOPBACK, self.port), self._client
        )
        self.port = self._listener.endpoint.port

    def client_host(self, host: Host) -> Host:
        """`host` with the address and keys of this server instead of its own."""
        if self._identity is None:
            self._identity = ThrowAwayFile(_openssh(self._client_key))
        return dataclasses.replace(
            host,
            hostname=LOOPBACK,
            port=self.port,
            user=USER,
            identity_file=(self._identity.path,),
            identities_only=True,
            password=None,
            host_key=(self.fingerprint,),
        )

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the host key, as `ssh-keygen -l` prints it."""
        return fingerprint(_paramiko_key(self._host_key).asbytes())

    async def kill(self) -> None:
        """Stop listening and reset every connection, without DISCONNECT."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for task in tuple(self._joining):
            task.cancel()
        await asyncio.gather(*self._joining, return_exceptions=True)
        for link, (sock, session) in tuple(self._links.items()):
            with contextlib.suppress(OSError):  # the client left, and the socket is closed
                reset_when_killed(sock)
            link.stream.close()
            link.close()
            await session.wait_closed()
            await link.wait_thread()

    async def close(self) -> None:
        """Stop, and discard the keys."""
        await self.kill()
        await self._hello.close()
        if self._identity is not None:
            self._identity.close()
            self._identity = None

    def _client(self, sock: socket.socket, _origin: tuple[str, int]) -> None:
        task = self._reactor.loop.create_task(self._join(sock), name="embedded server: handshake")
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, sock: socket.socket) -> None:
        transport = SshTransport(sock)
        transport.deadline = clock.monotonic() + _HANDSHAKE_SECONDS
        transport.add_server_key(_paramiko_key(self._host_key))
        try:
            # With an event, start_server does not wait for the key exchange.
            transport.start_server(threading.Event(), _OneClient(self._client_public))
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                await parked(self._reactor.loop, transport)
        except (TimeoutError, asyncio.CancelledError, paramiko.SSHException):
            await self._reactor.loop.run_in_executor(None, transport.close)
            return
        settings = LinkSettings(title="the embedded server's client", server_alive_interval=0)
        link = Link(self._reactor, sock, transport, settings, self._session)
        assert isinstance(link.acceptor, ServerSession)
        self._links[link] = (sock, link.acceptor)
        link.closed.add_done_callback(lambda _why: self._links.pop(link, None))

    def _session(self, link: Link) -> ServerSession:
        return ServerSession(link, self._resolve)

    def _resolve(self, target: Endpoint) -> Endpoint:
        return Endpoint(LOOPBACK, self._hello.port) if target == HELLO else target


class _OneClient(paramiko.ServerInterface):
    """Accepts the one key that was made for this server."""

    def __init__(self, key: paramiko.PKey) -> None:
        self._key = key

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_SUCCESSFUL if key == self._key else AUTH_FAILED


def _new_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def _openssh(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )


def _paramiko_key(key: Ed25519PrivateKey) -> paramiko.PKey:
    return paramiko.Ed25519Key.from_private_key(io.StringIO(_openssh(key).decode()))
