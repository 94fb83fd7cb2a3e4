"""Forwards with clients on the server: `remote` and `remote_dynamic` (ssh -R).

Owns the request for the listener, which lives as long as its link, and its real address. Its
clients are in `clients.py`. Must never report that it listens before the server does, nor where
something else does.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from weakref import WeakSet

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.forward import sentences
from tunnelctl.forward.channel_requests import Origin, listen_request
from tunnelctl.forward.client_connections import ConnectionLog, Connections, Counters
from tunnelctl.forward.remote.clients import RemoteClients
from tunnelctl.forward.remote.held_ports import HeldPort, HeldPorts
from tunnelctl.forward.remote.replies import ForwardReply, answer_of
from tunnelctl.forward.remote.server_bind import Ownership, is_taken, narrower, wider
from tunnelctl.forward.remote.unlinking import unlink
from tunnelctl.net.addresses import collide
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import ANY_ADDRESS, Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.link.link import GlobalReply, Link
from tunnelctl.ssh.link.remote_opens import RemoteOpens, Route
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure, ProtocolError, Reader

# After so many links in a row that the server ended at the request, it is assumed to end the next
# one too.
_LEFT_TIMES = 2
# If a link ends that soon without the request, the request is not the cause.
_LEAVES_ANYWAY = 5.0  # seconds


class RemoteForward:
    """The server listens, we connect to the target.

    `on_failure` is called for every client that could not be served. `profile` is the name of its
    profile, `held` has the ports that servers hold for the profiles, and `log` numbers connections.
    """

    def __init__(
        self,
        forward: Forward,
        reactor: Reactor,
        on_failure: Callable[[Failure], None],
        profile: str = "",
        held: HeldPorts | None = None,
        log: ConnectionLog | None = None,
    ) -> None:
        self.forward = forward
        self._owner = f"{profile}/{forward.name}" if profile else ""
        self._held = HeldPorts() if held is None else held
        self._reactor = reactor
        self._on_failure = on_failure
        log = ConnectionLog() if log is None else log
        self._clients = RemoteClients(forward, reactor, on_failure, profile, log)
        self._link: Link | None = None
        self._bound_at: Endpoint | None = None
        # The address that the server uses instead, by its own rules.
        self._found_at: Endpoint | None = None
        self._ownership: Ownership | None = None  # while that is being found out
        self._asked: Link | None = None
        self._asking = forward.listen  # the request to the server; see `chosen_port`
        # The port that the server chose last: clients know it, so it is requested again.
        self.chosen_port = 0
        # The number of links in a row that the server ended at the request, and of those without
        # the request.
        self._left_times = 0
        self._spared_at = -math.inf
        # Whether it could not listen because the server still does for an earlier session of ours.
        self.is_held_by_us = False
        # How the listener differs from the request, or None.
        self.caveat: Failure | None = None

    @property
    def connections(self) -> Connections:
        """Those of its clients."""
        return self._clients.connections

    @property
    def counters(self) -> Counters:
        """The bytes and connections so far."""
        return self._clients.counters

    @property
    def listening(self) -> Endpoint | None:
        """The address at which the server listens for us, and nothing else does: the requested one,
        unless another was found out."""
        if self._bound_at is None or self._ownership is not None:
            return None
        return self._bound_at if self._found_at is None else self._found_at

    async def open(self, link: Link, on_silence: Callable[[Failure], None] | None = None) -> None:
        """Ask the server to listen; `listening` is then the address with its port. A port that was
        chosen before is requested again.

        If the server answers other requests and not this one, `on_silence` is called, and the
        answer is still awaited.

        Raises:
            Failure: forward-denied when the server refuses, does not say which port it chose, or
                does not answer and there is no `on_silence`; port-in-use when somebody else listens
                there; or why the link ended meanwhile.
        """
        self._asked = link
        self.is_held_by_us = False
        if self._left_times >= _LEFT_TIMES:
            self._spared_at = clock.monotonic()
            raise sentences.remote_listen_disconnects(self.forward, link.info.software)
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
        """Ask for the port that can be had. Raises Failure."""
        listen = self._asking
        answer = await self._request(link, on_silence)
        may_unlink = listen.is_unix and self.forward.unlink_remote
        is_refused = answer.reply is None and not answer.is_kept and not answer.is_unknown
        if is_refused and may_unlink and await unlink(link, listen.path):
            answer = await self._request(link, on_silence)
        if answer.reply is None:
            raise self._refusal(link, answer)
        if not answer.reply and not listen.is_unix and listen.port == 0:
            raise sentences.remote_port_not_told(self.forward)
        await self._make_sure(link)
        if self._link is link and self._bound_at is not None and not self._bound_at.is_unix:
            self._held.granted(HeldPort(self._owner, link.info.address, self._bound_at))
        self.caveat = wider(self.forward, answer.said)
        if self.caveat is not None and self._bound_at is not None:
            self._found_at = Endpoint(ANY_ADDRESS, self._bound_at.port)

    def _refusal(self, link: Link, answer: ForwardReply) -> Failure:
        if answer.is_unknown:
            request = listen_request(self.forward.listen).name
            return sentences.remote_listen_unknown(self.forward, request, link.info.software)
        if is_taken(link, answer.said) and not self.forward.listen.is_unix:
            return self._taken(link)
        if answer.is_kept:
            return sentences.remote_port_not_cancelled(self.forward)
        return sentences.remote_listen_refused(self.forward, link.info.software)

    async def _request(
        self, link: Link, on_silence: Callable[[Failure], None] | None
    ) -> ForwardReply:
        """The answer of the server.

        Raises:
            Failure: why the link ended meanwhile, or that there is no answer; see `open`.
        """
        request = listen_request(self._asking)

        def replied(reply: GlobalReply) -> ForwardReply:
            if reply.was_left:
                self._left_times += 1
            elif not link.connection.is_lost:
                self._left_times = 0
            said, granted = link.take_said(), reply.data
            kept = granted is None and _routes(link).is_kept(*request.route)
            if kept and link.info.software.revives_listeners and not link.connection.is_lost:
                granted = b""
            # Register the route now: the next message may be the first client.
            bound = None if granted is None else self._bound(granted)
            if bound is not None and reply.is_awaited and self._asked is link:
                self._listen(link, bound)
            elif bound is not None:
                self._cancel(link, bound)
            return ForwardReply(granted, said, kept, reply.is_unknown)

        def silent() -> None:
            name = listen_request(self.forward.listen).name
            server = link.info.software
            failure = sentences.remote_listen_unanswered(self.forward, name, server)
            if on_silence is None:
                raise failure
            on_silence(failure)

        asked = link.ask(request.name, request.data, replied)
        return await answer_of(link, asked, silent)

    async def _make_sure(self, link: Link) -> None:
        """Check that clients of the port reach us.

        Raises:
            Failure: port-in-use.
        """
        ownership = self._ownership
        if self._link is not link or ownership is None:
            return
        try:
            anothers = await ownership.is_anothers()
        except asyncio.CancelledError:  # it is about to be closed
            for incoming, _ in ownership.clients():
                incoming.reject(OpenFailure.CONNECT_FAILED, "this forward is gone")
            raise
        clients = ownership.clients()
        if self._ownership is not ownership or link.closed.done():  # moved or lost meanwhile
            for incoming, _ in clients:
                incoming.reject(OpenFailure.CONNECT_FAILED, "this forward is gone")
            return
        self._ownership = None
        if anothers:
            self.withdraw()
            raise self._taken(link)
        for incoming, origin in clients:
            self._clients.admit(link, incoming, origin)

    def _taken(self, link: Link) -> Failure:
        """Something else listens there, possibly another forward of ours."""
        owner = next((other._owner for other in _open_remotes if other._keeps_out(self, link)), "")
        if owner:
            return sentences.remote_port_in_use_by_forward(self.forward, owner)
        held = self._held.keeper(link.info.address, self._asking)
        self.is_held_by_us = held is not None
        if held is not None:
            return sentences.remote_port_held(self.forward, held.owner, link.info.software)
        if self._owner.partition("/")[0] in self._held.taken_over:
            return sentences.remote_port_of_last_machine(self.forward, link.info.software)
        return sentences.remote_port_in_use(self.forward)

    def _keeps_out(self, other: RemoteForward, link: Link) -> bool:
        """Whether `other` cannot listen on the server of that link because of this one."""
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
        """Find out whether the server listens as widely as requested; see `caveat`."""
        listening = self.listening
        if self.caveat is not None or listening is None or listening.is_unix:
            return
        caveat = await narrower(self.forward, link, listening.port)
        if caveat is not None and self._link is link:
            self.caveat = caveat
            self._found_at = Endpoint("localhost", listening.port)

    def withdraw(self) -> None:
        """Ask the server to stop listening; open connections continue."""
        bound, link = self._bound_at, self._link
        self._bound_at = self._found_at = self._ownership = None
        if bound is not None and link is not None and not link.closed.done():
            self._held.released(link.info.address, bound)
            self._cancel(link, bound)
        elif bound is not None and link is not None:
            self._held.lost(link.info.address, bound)

    async def close(self, drain: float) -> None:
        """Ask the server to stop listening, let connections end, then reset them."""
        self.withdraw()
        await self._clients.close(drain)

    def cut(self) -> None:
        """Reset all connections now; the listener goes with the link, and `close` does the rest."""
        self._clients.cut()

    def detach(self) -> None:
        """The link is gone, and the listener too once the server notices."""
        if clock.monotonic() - self._spared_at < _LEAVES_ANYWAY:
            self._left_times = 0
        if self._bound_at is not None and self._link is not None:
            self._held.lost(self._link.info.address, self._bound_at)
        self._bound_at = self._found_at = self._ownership = self._link = None

    def ask_anew(self) -> None:
        """Forget how the server reacted to earlier requests."""
        self._left_times = 0

    def _bound(self, reply: bytes) -> Endpoint | None:
        """The address at which the server listens now; None if the port was its choice and it does
        not tell."""
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
        """Ask the server to stop listening. It may refuse, and continue."""
        routes, route = _routes(link), self._route(bound)
        routes.remove(route)
        request, asked = listen_request(bound), listen_request(self._asking)

        def closed(reply: GlobalReply) -> None:
            if reply.data is None:
                routes.keep(route)
            else:
                routes.closed(route)

        def answered(reply: GlobalReply) -> None:
            # Twisted Conch knows the listener by the requested port. Dropbear 2020 crashes at the
            # cancellation of an unknown one.
            is_chosen = route.is_chosen and routes.is_only_chosen(route)
            if reply.data is None and is_chosen and not link.info.software.is_dropbear:
                link.ask(asked.cancel, asked.data, closed)
            else:
                closed(reply)

        link.ask(request.cancel, request.data, answered)

    # Clients.

    def _stray(self) -> None:
        """A client was refused that may be for this forward, or another of this link."""
        self._on_failure(sentences.client_of_no_forward(self.forward))

    def _client(self, incoming: IncomingOpen) -> None:
        link = self._link
        assert link is not None
        origin = _origin(incoming)
        if self._ownership is None or not self._ownership.holds(incoming, origin):
            self._clients.admit(link, incoming, origin)


# Forwards that listen or listened; the holder of a port is found without asking the server.
_open_remotes: WeakSet[RemoteForward] = WeakSet()


def _routes(link: Link) -> RemoteOpens:
    assert isinstance(link.acceptor, RemoteOpens)
    return link.acceptor


def _origin(incoming: IncomingOpen) -> Origin:
    """The originator of the far client (RFC 4254 section 7.2); empty for a unix socket."""
    if incoming.kind != "forwarded-tcpip":
        return ("", 0)
    return (incoming.data.text(), incoming.data.u32())
