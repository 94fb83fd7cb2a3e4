"""Requests of an SSH server: connections to the ports that we asked it to listen on.

Owns the routes from a listening address on the server to the forward that requested it. Must never
accept a channel that was not requested (RFC 4254 section 7.2), nor a session, an agent or X11, and
never route a client to another forward than its own: if a server does not name it, and there may be
two, the client is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.ssh.link.link import Link
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure, Reader

# Called with the open, which waits for an answer.
OnOpen = Callable[[IncomingOpen], None]


@dataclass(frozen=True, slots=True)
class Route:
    """To the forward that asked the server to listen on `address` and the real `port`; for a unix
    socket the address is its path, and the port 0.

    `is_chosen`: the server chose the port. `on_stray` is called when a client was refused that may
    have been for this route, or for another.
    """

    address: str
    port: int
    is_chosen: bool
    on_open: OnOpen
    on_stray: Callable[[], None]


class RemoteOpens:
    """The client side of a connection, as its Acceptor."""

    def __init__(self, link: Link) -> None:
        self._title = link.settings.title
        self._routes: dict[tuple[str, int], Route] = {}
        # Removed, but the server may still listen there, or have clients on the way, which must not
        # get another route.
        self._left: dict[tuple[str, int], Route] = {}
        self._kept: set[tuple[str, int]] = set()  # which the server refused to cancel

    def add(self, route: Route) -> None:
        """Route connections from now on."""
        self._routes[route.address, route.port] = route
        self._left.pop((route.address, route.port), None)

    def remove(self, route: Route) -> None:
        """Stop routing; also for one that was never added."""
        key = (route.address, route.port)
        if self._routes.get(key, route) == route:
            self._routes.pop(key, None)
            self._left[key] = route

    def is_only_chosen(self, route: Route) -> bool:
        """Whether the server chose a port for no other route of the same address."""
        known = [*self._routes.values(), *self._left.values()]
        return [route] == [one for one in known if one.is_chosen and one.address == route.address]

    def closed(self, route: Route) -> None:
        """The server does not listen any more for a removed route."""
        if (route.address, route.port) in self._left:
            self._left[route.address, route.port] = replace(route, is_chosen=False)

    def keep(self, route: Route) -> None:
        """The server refused to cancel this listener, as Dropbear and Erlang do: it listens until
        the link ends, and grants no second listener."""
        self._kept.add((route.address, route.port))

    def is_kept(self, address: str, port: int) -> bool:
        """Whether the server still listens there for a forward that was closed."""
        return (address, port) in self._kept

    def channel_open(self, incoming: IncomingOpen) -> None:
        """Route `forwarded-tcpip` and `forwarded-streamlocal`, refuse everything else."""
        if incoming.kind == "forwarded-tcpip":
            found = self._find(incoming.data.text(), incoming.data.u32())
        elif incoming.kind == "forwarded-streamlocal@openssh.com":
            route = self._routes.get((incoming.data.text(), 0))
            found = [] if route is None else [route]
        else:
            incoming.reject(OpenFailure.ADMINISTRATIVELY_PROHIBITED, "not offered by this client")
            return
        live = [route for route in found if route in self._routes.values()]
        if len(found) == len(live) == 1:
            live[0].on_open(incoming)
            return
        why = "several forwards may be meant" if live else "this forward was not asked for"
        incoming.reject(OpenFailure.ADMINISTRATIVELY_PROHIBITED, why)
        for route in live:
            route.on_stray()

    def _find(self, address: str, port: int) -> list[Route]:
        """The routes that a client may be for, including removed ones.

        RFC 4254 section 7.2 has the server name the requested address. Some name what they resolved
        it to; Twisted Conch sends 0 for a port that it chose.
        """
        known = {**self._left, **self._routes}
        exact = known.get((address, port)) if port else None
        if exact is not None:
            return [exact]
        if port:
            return [route for route in known.values() if route.port == port]
        chosen = [route for route in known.values() if route.is_chosen]
        return [route for route in chosen if route.address == address] or chosen

    def global_request(self, name: str, data: Reader) -> bytes | None:
        """Keepalive requests are answered by a refusal, as is usual."""
        return None
