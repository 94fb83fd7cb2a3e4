"""The two forwards of RFC 4254 section 7: clients come here, or clients come there.

Owns a forward's listener, its clients that wait for a link, and its connections. A local
listener outlives the links that serve it; a remote one lives and dies with its link. Must never
say that it listens before it does.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.forward.connections import Connections, Counters
from tunnelctl.forward.listener import Listener
from tunnelctl.forward.relay import reset
from tunnelctl.forward.target import TargetSide
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.link import Link
from tunnelctl.ssh.remote_opens import RemoteOpens
from tunnelctl.wire import messages
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure

OnFailure = Callable[[Failure], None]

# A server answers a forward request without asking anybody else; one that does not is stuck,
# and as replies come in order nothing after it would be answered either (RFC 4254 section 4).
_REPLY_SECONDS = 15.0


class LocalForward:
    """Clients come here, the server dials the target (`direct-tcpip`).

    `on_failure` hears of every client that could not be served.
    """

    def __init__(self, forward: Forward, reactor: Reactor, on_failure: OnFailure) -> None:
        self.forward = forward
        self._reactor = reactor
        self._on_failure = on_failure
        self._connections = Connections(reactor, listening_here=True)
        self._listener: Listener | None = None
        self._link: Link | None = None
        self._held: deque[tuple[socket.socket, tuple[str, int], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counters(self) -> Counters:
        """What went through so far."""
        return self._connections.counters

    @property
    def listening(self) -> Endpoint | None:
        """Where it listens, with the real port; None while it does not."""
        return self._listener.endpoint if self._listener else None

    def open(self) -> None:
        """Listen. Clients wait for a link as `while_down` says.

        Raises:
            Failure: port-in-use or permission-denied.
        """
        self._listener = Listener(self._reactor, self.forward.listen, self._client)

    def attach(self, link: Link) -> None:
        """Serve clients over this link from now on, those that waited first."""
        self._link = link
        held, self._held = self._held, deque()
        for sock, address, _ in held:
            self._serve(link, sock, address)

    def detach(self) -> None:
        """The link is gone. Its connections were reset with it; new clients wait."""
        self._link = None

    async def close(self, drain: float) -> None:
        """Stop listening, let connections end for `drain` seconds, then reset them."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._timer is not None:
            self._timer.cancel()
        while self._held:
            self._turn_away(self._held.popleft()[0])
        await self._connections.close(drain)

    def _client(self, sock: socket.socket, address: tuple[str, int]) -> None:
        full = self.counters.open >= self.forward.max_connections
        self._connections.began()
        if full:
            self._turn_away(sock)
            self._fail(Code.TARGET_REFUSED, f"has {self.forward.max_connections} connections open")
        elif self._link is not None:
            self._serve(self._link, sock, address)
        elif self.forward.while_down.hold > 0:
            self._held.append((sock, address, clock.monotonic() + self.forward.while_down.hold))
            self._arm()
        else:
            self._turn_away(sock)

    def _serve(self, link: Link, sock: socket.socket, address: tuple[str, int]) -> None:
        target = self.forward.target
        assert target is not None
        relay = self._connections.relay(link, sock, self._refused)
        data = messages.tcpip_open(target.host, target.port, address[0], address[1])
        relay.open("direct-tcpip", data)

    def _turn_away(self, sock: socket.socket) -> None:
        reset(sock)
        self._connections.failed()

    def _arm(self) -> None:
        """One timer, for the client that has waited longest."""
        if self._timer is None and self._held:
            wait = max(0.0, self._held[0][2] - clock.monotonic())
            self._timer = self._reactor.loop.call_later(wait, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = clock.monotonic()
        while self._held and self._held[0][2] <= now:
            self._turn_away(self._held.popleft()[0])
            self._fail(Code.SESSION_LOST, f"had no link for {self.forward.while_down.hold:g} s")
        self._arm()

    def _refused(self, reason: int, description: str) -> None:
        self._connections.refused()
        self._on_failure(open_failure(self.forward, reason, description))

    def _fail(self, code: Code, what: str) -> None:
        message = f"forward {self.forward.name} {what}: a client was turned away"
        self._on_failure(Failure(code, message))


class RemoteForward:
    """The server listens, we dial the target (`tcpip-forward`, `forwarded-tcpip`)."""

    def __init__(self, forward: Forward, reactor: Reactor, on_failure: OnFailure) -> None:
        self.forward = forward
        self.listening: Endpoint | None = None
        self._reactor = reactor
        self._on_failure = on_failure
        self._connections = Connections(reactor, listening_here=False)
        self._link: Link | None = None
        self._target_side = TargetSide(reactor, self._connections)

    @property
    def counters(self) -> Counters:
        """What went through so far."""
        return self._connections.counters

    async def open(self, link: Link) -> None:
        """Ask the server to listen; `listening` says where, with the port it chose.

        Raises:
            Failure: forward-denied when the server refuses, or why the link ended meanwhile.
        """
        address, port = _bind_address(self.forward.listen), self.forward.listen.port
        replied: asyncio.Future[bytes | None] = self._reactor.loop.create_future()

        def on_reply(reply: bytes | None) -> None:
            # The route is laid before the next message is read: it may be the first client.
            if reply is not None:
                self._listen(link, address, port or int.from_bytes(reply[:4], "big"))
            if not replied.done():
                replied.set_result(reply)

        link.connection.request("tcpip-forward", messages.tcpip_forward(address, port), on_reply)
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                reply = await replied
        except TimeoutError:
            link.close(self._failure(Code.TIMED_OUT, "got no answer to its request"))
            raise link.closed.result() from None
        if link.closed.done():
            raise link.closed.result()
        if reply is None:
            raise self._denied()

    async def close(self, drain: float) -> None:
        """Ask the server to listen no more, let connections end, then reset them."""
        listening, link, self.listening = self.listening, self._link, None
        if listening is not None and link is not None and not link.closed.done():
            address = _bind_address(self.forward.listen)
            _routes(link).remove(address, listening.port)
            data = messages.tcpip_forward(address, listening.port)
            link.connection.request("cancel-tcpip-forward", data, lambda _reply: None)
        await self._target_side.close(drain)

    def detach(self) -> None:
        """The link is gone, and the listener with it."""
        self.listening = self._link = None

    def _listen(self, link: Link, address: str, port: int) -> None:
        self._link = link
        self.listening = self.forward.listen.with_port(port)
        _routes(link).add(address, port, self._client)

    def _client(self, incoming: IncomingOpen) -> None:
        full = self.counters.open >= self.forward.max_connections
        self._connections.began()
        if full:
            incoming.reject(OpenFailure.RESOURCE_SHORTAGE, "too many connections")
            self._connections.failed()
            return
        target, link = self.forward.target, self._link
        assert target is not None
        assert link is not None
        self._target_side.serve(link, incoming, target, self._unreachable)

    def _unreachable(self, error: OSError) -> None:
        self._on_failure(target_failure(self.forward, error))

    def _denied(self) -> Failure:
        listen = self.forward.listen
        if 0 < listen.port < 1024:
            hint = "the server lets only root listen below 1024; choose a higher port"
        else:
            hint = (
                "the port may be taken there, or sshd_config forbid it"
                " (AllowTcpForwarding, PermitListen)"
            )
        return self._failure(Code.FORWARD_DENIED, f"was refused: cannot listen on {listen}", hint)

    def _failure(self, code: Code, what: str, hint: str = "") -> Failure:
        return Failure(
            code, f"remote forward {self.forward.name} via {self.forward.via} {what}", hint
        )


def _routes(link: Link) -> RemoteOpens:
    assert isinstance(link.acceptor, RemoteOpens)
    return link.acceptor


def _bind_address(listen: Endpoint) -> str:
    """The address as the server is asked: `*` is the empty string (RFC 4254 section 7.1)."""
    return "" if listen.host == "*" else listen.host


def open_failure(forward: Forward, reason: int, description: str) -> Failure:
    """A refused `direct-tcpip` open as a failure (RFC 4254 section 5.1, and OpenSSH's texts)."""
    text = "".join(c if c.isprintable() else "?" for c in description)[:200]
    where = f"{forward.target} through {forward.via}"
    lowered = text.lower()
    if reason == OpenFailure.ADMINISTRATIVELY_PROHIBITED:
        return Failure(
            Code.FORWARD_DENIED,
            f"{forward.via} does not allow connections to {forward.target}: {text}",
            "sshd_config there decides (AllowTcpForwarding, PermitOpen)",
        )
    if reason == OpenFailure.CONNECT_FAILED and "refused" in lowered:
        hint = "is the service running, and on that address?"
        return Failure(Code.TARGET_REFUSED, f"{where} refused the connection", hint)
    return Failure(Code.TARGET_UNREACHABLE, f"{where} cannot be reached: {text}")


def target_failure(forward: Forward, error: OSError) -> Failure:
    """A target on this side that could not be dialled, as a failure."""
    if isinstance(error, ConnectionRefusedError):
        hint = "is the service running, and on that address?"
        message = f"{forward.target}, the target of {forward.name}, refused the connection"
        return Failure(Code.TARGET_REFUSED, message, hint)
    text = error.strerror or "timed out"
    message = f"{forward.target}, the target of {forward.name}, cannot be reached: {text}"
    return Failure(Code.TARGET_UNREACHABLE, message)
