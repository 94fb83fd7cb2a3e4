"""Forwards whose clients come there: `remote` and `remote_dynamic` (ssh -R).

Owns what was asked of the server, and the connections that came of it. The listener lives and
dies with its link. Must never dial what the profile did not name: a fixed target, or one that
`permit` allows after its name was resolved once.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakSet

from tunnelctl.errors import Code, Failure
from tunnelctl.forward.bound import Ownership, is_taken, narrower, wider
from tunnelctl.forward.connections import Connections, Counters
from tunnelctl.forward.held import HeldPort, HeldPorts
from tunnelctl.forward.listener import listens_here
from tunnelctl.forward.local import may_come
from tunnelctl.forward.opens import (
    Origin,
    listen_denied,
    listen_held,
    listen_kept,
    listen_request,
    listen_taken,
    listen_taken_by_own,
    listen_unanswered,
    listen_unknown,
    port_untold,
    reason_of,
    stray,
    target_failure,
    turned_away,
)
from tunnelctl.forward.replies import Answer, answer_of
from tunnelctl.forward.socks import WINDOW_MIN, RemoteSocksClient
from tunnelctl.forward.target import TargetSide, resolve
from tunnelctl.forward.unlinking import unlink
from tunnelctl.net.addresses import collide
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.permit import permits
from tunnelctl.ssh.failures import excerpt
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.remote_opens import RemoteOpens, Route
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure, ProtocolError, Reader
from tunnelctl.wire.socks import Reply, reply_for


class RemoteForward:
    """The server listens, we dial the target.

    `on_failure` hears of every client that could not be served. `owner` is its name among those of
    all profiles, and `held` has the ports that servers hold for those.
    """

    def __init__(
        self,
        forward: Forward,
        reactor: Reactor,
        on_failure: Callable[[Failure], None],
        owner: str = "",
        held: HeldPorts | None = None,
    ) -> None:
        self.forward = forward
        self._owner = owner
        self._held = HeldPorts() if held is None else held
        self._reactor = reactor
        self._on_failure = on_failure
        self._connections = Connections(reactor, listening_here=False)
        self._link: Link | None = None
        self._bound_at: Endpoint | None = None
        self._found_at: Endpoint | None = None  # where it listens instead, by its own rules
        self._ownership: Ownership | None = None  # while it is found out
        self._asked: Link | None = None
        self._asking = forward.listen  # what the server is asked for; see `chosen_port`
        # The port that the server chose last, where that is its to choose: clients know it.
        self.chosen_port = 0
        # What is not as it was asked for, though the server listens.
        self.caveat: Failure | None = None
        self._target_side = TargetSide(reactor, self._connections)
        self._handshakes: set[RemoteSocksClient] = set()

    @property
    def counters(self) -> Counters:
        """What went through so far."""
        return self._connections.counters

    @property
    def listening(self) -> Endpoint | None:
        """Where the server listens for us, and nobody else does: as it was asked to, unless it
        was found out that it is elsewhere."""
        if self._bound_at is None or self._ownership is not None:
            return None
        return self._bound_at if self._found_at is None else self._found_at

    async def open(self, link: Link, on_silence: Callable[[Failure], None] | None = None) -> None:
        """Ask the server to listen; `listening` says where, with the port it chose. That is the one
        that it chose before, where it can be had again.

        Where it answers others and not this, `on_silence` is told, and its answer is waited for.

        Raises:
            Failure: forward-denied when the server refuses, does not say which port it chose, or
                does not answer and there is no `on_silence`; port-in-use when somebody else listens
                there; or why the link ended meanwhile.
        """
        self._asked = link
        if self.chosen_port:
            self._asking = self.forward.listen.with_port(self.chosen_port)
            try:
                await self._open(link, on_silence)
            except Failure:
                if link.closed.done():
                    raise
            else:
                return
        self._asking = self.forward.listen
        await self._open(link, on_silence)
        if self._bound_at is not None and not self._asking.is_unix and self._asking.port == 0:
            self.chosen_port = self._bound_at.port

    async def _open(self, link: Link, on_silence: Callable[[Failure], None] | None) -> None:
        """Ask for the port that is to be had. Raises Failure."""
        listen = self._asking
        answer = await self._request(link, on_silence)
        may_unlink = listen.is_unix and self.forward.unlink_remote
        is_refused = answer.reply is None and not answer.is_kept and not answer.is_unknown
        if is_refused and may_unlink and await unlink(link, listen.path):
            answer = await self._request(link, on_silence)
        if answer.reply is None:
            raise self._refusal(link, answer)
        if not answer.reply and not listen.is_unix and listen.port == 0:
            raise port_untold(self.forward)
        await self._make_sure(link)
        if self._link is link and self._bound_at is not None and not self._bound_at.is_unix:
            self._held.granted(HeldPort(self._owner, link.info.address, self._bound_at))
        self.caveat = wider(self.forward, answer.said)
        if self.caveat is not None and self._bound_at is not None:
            self._found_at = Endpoint("*", self._bound_at.port)

    def _refusal(self, link: Link, answer: Answer) -> Failure:
        if answer.is_unknown:
            return listen_unknown(self.forward, link.info.software)
        if is_taken(link, answer.said) and not self.forward.listen.is_unix:
            return self._taken(link)
        if answer.is_kept:
            return listen_kept(self.forward)
        return listen_denied(self.forward, link.info.software)

    async def _request(self, link: Link, on_silence: Callable[[Failure], None] | None) -> Answer:
        """What the server says.

        Raises:
            Failure: why the link ended meanwhile, or that there is no answer; see `open`.
        """
        request = listen_request(self._asking)
        replied: asyncio.Future[Answer] = self._reactor.loop.create_future()

        def on_reply(reply: bytes | None) -> None:
            said = link.take_said()
            kept = reply is None and _routes(link).is_kept(*request.route)
            if kept and link.info.software.revives_listeners and not link.connection.is_lost:
                reply = b""
            try:
                # The route is laid before the next message is read: it may be the first client.
                bound = None if reply is None else self._bound(reply)
                if bound is not None and not replied.cancelled() and self._asked is link:
                    self._listen(link, bound)
                elif bound is not None:  # nobody waits for it any more
                    self._cancel(link, bound)
            finally:
                if not replied.done():
                    replied.set_result(Answer(reply, said, kept))

        def silent() -> None:
            failure = listen_unanswered(self.forward, link.info.software)
            if on_silence is None:
                raise failure
            on_silence(failure)

        asked = link.connection.request(request.name, request.data, on_reply)
        answer = await answer_of(link, replied, silent)
        return replace(answer, is_unknown=asked.is_unknown)

    async def _make_sure(self, link: Link) -> None:
        """That clients of the port get to us.

        Raises:
            Failure: port-in-use.
        """
        ownership = self._ownership
        if self._link is not link or ownership is None:
            return
        try:
            anothers = await ownership.is_anothers()
        except asyncio.CancelledError:  # it is to be closed
            for incoming, _ in ownership.clients():
                incoming.reject(OpenFailure.CONNECT_FAILED, "this forward is gone")
            raise
        clients = ownership.clients()
        if self._ownership is not ownership or link.closed.done():  # moved, or lost, meanwhile
            for incoming, _ in clients:
                incoming.reject(OpenFailure.CONNECT_FAILED, "this forward is gone")
            return
        self._ownership = None
        if anothers:
            self.withdraw()
            raise self._taken(link)
        for incoming, origin in clients:
            self._admit(link, incoming, origin)

    def _taken(self, link: Link) -> Failure:
        """Somebody else listens there, who may be one of us."""
        owner = next((other._owner for other in _open_remotes if other._keeps_out(self, link)), "")
        if owner:
            return listen_taken_by_own(self.forward, owner)
        held = self._held.keeper(link.info.address, self._asking)
        if held is not None:
            return listen_held(self.forward, held.owner, link.info.software)
        return listen_taken(self.forward)

    def _keeps_out(self, other: RemoteForward, link: Link) -> bool:
        """Whether `other` cannot listen on that link's server because of this one."""
        bound, mine = self._bound_at, self._link
        return (
            other is not self
            and bound is not None
            and mine is not None
            and mine.info.address == link.info.address
            and bound.port == other._asking.port
            and collide(bound.host, other.forward.listen.host)
        )

    async def look(self, link: Link) -> None:
        """Find out whether the server listens as widely as it was asked to; see `caveat`."""
        listening = self.listening
        if self.caveat is not None or listening is None or listening.is_unix:
            return
        caveat = await narrower(self.forward, link, listening.port)
        if caveat is not None and self._link is link:
            self.caveat = caveat
            self._found_at = Endpoint("localhost", listening.port)

    def withdraw(self) -> None:
        """Ask the server to listen no more; connections that are open live on."""
        bound, link = self._bound_at, self._link
        self._bound_at = self._found_at = self._ownership = None
        if bound is not None and link is not None and not link.closed.done():
            self._held.released(link.info.address, bound)
            self._cancel(link, bound)
        elif bound is not None and link is not None:
            self._held.lost(link.info.address, bound)

    async def close(self, drain: float) -> None:
        """Ask the server to listen no more, let connections end, then reset them."""
        self.withdraw()
        for handshake in tuple(self._handshakes):
            handshake.abort()
            self._left(handshake)
        await self._target_side.close(drain)

    def detach(self) -> None:
        """The link is gone, and the listener with it, once the server knows."""
        if self._bound_at is not None and self._link is not None:
            self._held.lost(self._link.info.address, self._bound_at)
        self._bound_at = self._found_at = self._ownership = self._link = None

    def _bound(self, reply: bytes) -> Endpoint | None:
        """Where the server listens now: it has to say so where the port was its to choose, and
        None if it does not."""
        listen = self._asking
        if listen.is_unix or listen.port != 0:
            return listen
        if not reply:
            return None
        port = Reader(reply).u32()
        if not 0 < port <= 65535:
            raise ProtocolError(f"the server says that it listens on port {port}")
        return listen.with_port(port)

    def _listen(self, link: Link, listen: Endpoint) -> None:
        self._link = link
        self._bound_at = listen
        _open_remotes.add(self)
        self._ownership = Ownership(link, listen)
        _routes(link).add(self._route(listen))

    def _route(self, bound: Endpoint) -> Route:
        is_chosen = not bound.is_unix and self._asking.port == 0
        return Route(*listen_request(bound).route, is_chosen, self._client, self._stray)

    def _cancel(self, link: Link, bound: Endpoint) -> None:
        """Ask the server to listen no more. It may refuse, and listen on."""
        routes, route = _routes(link), self._route(bound)
        routes.remove(route)
        request, asked = listen_request(bound), listen_request(self._asking)

        def closed(reply: bytes | None) -> None:
            if reply is None:
                routes.keep(route)
            else:
                routes.closed(route)

        def answered(reply: bytes | None) -> None:
            # Twisted Conch knows it by the port that it was asked for. Dropbear 2020 crashes when
            # it is asked to cancel what it does not know.
            is_chosen = route.is_chosen and routes.is_only_chosen(route)
            if reply is None and is_chosen and not link.info.software.is_dropbear:
                link.connection.request(asked.cancel, asked.data, closed)
            else:
                closed(reply)

        link.connection.request(request.cancel, request.data, answered)

    # Clients.

    def _stray(self) -> None:
        """Somebody was refused who may have come here, or to another forward of this link."""
        self._on_failure(stray(self.forward))

    def _client(self, incoming: IncomingOpen) -> None:
        link = self._link
        assert link is not None
        origin = _origin(incoming)
        if self._ownership is None or not self._ownership.holds(incoming, origin):
            self._admit(link, incoming, origin)

    def _admit(self, link: Link, incoming: IncomingOpen, origin: Origin) -> None:
        most = self.forward.max_connections
        full = self.counters.open >= most
        self._connections.began()
        if not may_come(self.forward, origin):
            what = f"does not allow {excerpt(origin[0])}"
            self._turn_away(incoming, Code.PERMISSION_DENIED, what)
        elif full:
            self._turn_away(incoming, Code.TARGET_REFUSED, f"has {most} connections open")
        elif self.forward.target is None and incoming.window < WINDOW_MIN:
            what = "was given no window for a SOCKS handshake"
            self._turn_away(incoming, Code.TARGET_REFUSED, what)
        elif self.forward.target is not None:
            target = self.forward.target
            self._target_side.serve(
                link, incoming, target, lambda error: self._unreachable(target, error)
            )
        else:
            self._ask(link, incoming)

    def _turn_away(self, incoming: IncomingOpen, code: Code, what: str) -> None:
        incoming.reject(OpenFailure.ADMINISTRATIVELY_PROHIBITED, f"this forward {what}")
        self._connections.failed(code)
        self._on_failure(turned_away(self.forward, code, what))

    def _unreachable(self, target: Endpoint, error: OSError) -> Code:
        failure = target_failure(self.forward, target, error)
        self._on_failure(failure)
        return failure.code

    def _ask(self, link: Link, incoming: IncomingOpen) -> None:
        """Let a SOCKS client beyond the server name its target."""

        def on_request(client: RemoteSocksClient) -> None:
            self._handshakes.discard(client)
            self._target_side.spawn(self._dial(link, client), f"dial {client.server.request}")

        client = RemoteSocksClient(
            self._reactor.loop, incoming, on_request, lambda: self._left(client)
        )
        self._handshakes.add(client)

    def _left(self, client: RemoteSocksClient) -> None:
        self._handshakes.discard(client)
        self._connections.failed(Code.HANDSHAKE_FAILED)

    async def _dial(self, link: Link, client: RemoteSocksClient) -> None:
        """Connect a client to what it asked for, if `permit` allows it."""
        wanted = client.server.request
        assert wanted is not None
        try:
            addresses = await self._permitted(wanted)
            if not addresses:
                client.refuse(Reply.NOT_ALLOWED)
                message = f"{self.forward.name} was asked for {wanted}, which it may not reach"
                hint = "permit in the profile decides"
                self._on_failure(Failure(Code.FORWARD_DENIED, message, hint))
                self._connections.failed(Code.FORWARD_DENIED)
                return
            sock = await self._target_side.connect(addresses)
        except OSError as error:
            client.refuse(reply_for(OpenFailure.CONNECT_FAILED, reason_of(error)))
            self._connections.failed(self._unreachable(wanted, error))
        except asyncio.CancelledError:
            client.abort()
            self._connections.failed(Code.SESSION_LOST)
            raise
        else:
            self._begin(link, client, sock)

    def _begin(self, link: Link, client: RemoteSocksClient, sock: socket.socket) -> None:
        if client.is_gone or link.connection.is_lost:
            sock.close()
            self._connections.failed(Code.SESSION_LOST)
        else:
            early = client.grant()
            self._connections.relay(link, sock).adopt(client.channel, early)

    async def _permitted(self, wanted: Endpoint) -> list[Endpoint]:
        """The addresses to dial: the name is resolved once, and those very ones are dialled."""

        def is_permitted(address: Endpoint) -> bool:
            parsed = ipaddress.ip_address(address.host.partition("%")[0])
            ours = listens_here(address)
            return permits(self.forward.permit, wanted.host, parsed, wanted.port, ours=ours)

        found = map(_plain, await resolve(wanted))
        return list(filter(is_permitted, found))


# Those that are, or were, listened for; what holds a port is known without asking anybody.
_open_remotes: WeakSet[RemoteForward] = WeakSet()


def _plain(address: Endpoint) -> Endpoint:
    """An IPv4 address that is written as an IPv6 one, as itself: rules are written for that."""
    parsed = ipaddress.ip_address(address.host.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return Endpoint(str(parsed.ipv4_mapped), address.port)
    return address


def _routes(link: Link) -> RemoteOpens:
    assert isinstance(link.acceptor, RemoteOpens)
    return link.acceptor


def _origin(incoming: IncomingOpen) -> Origin:
    """Where the far client came from (RFC 4254 section 7.2); nothing for a unix socket."""
    if incoming.kind != "forwarded-tcpip":
        return ("", 0)
    return (incoming.data.text(), incoming.data.u32())
