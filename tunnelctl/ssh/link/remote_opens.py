"""What an SSH server may ask of us: connections to the ports that we asked it to listen on.

Owns the routes from a listening address on the server to whoever asked for it. Must never
accept a channel that was not asked for (RFC 4254 section 7.2), nor a session, an agent or X11, and
never lead a client to another forward than the one it came for: where a server does not say which
that is, and there may be two, nobody gets it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tunnelctl.ssh.link.link import Link
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure, Reader

# Called with the open that waits for an answer.
OnOpen = Callable[[IncomingOpen], None]


@dataclass(frozen=True, slots=True)
class Route:
    """To whoever asked the server to listen on `address` and `port`, which is the real one, and 0
    for a unix socket, whose path is the address.

    `is_chosen`: the server chose the port. `on_stray` is called when a client was refused that may
    have come for this route, or for another.
    """

    address: str
    port: int
    is_chosen: bool
    on_open: OnOpen
    on_stray: Callable[[], None]


class RemoteOpens:
    """The client's side of a connection, as its Acceptor."""

    def __init__(self, link: Link) -> None:
        self._title = link.settings.title
        self._routes: dict[tuple[str, int], Route] = {}
        # Given up, but the server may listen there yet, or have clients on the way: theirs are not
        # those of another route.
        self._left: dict[tuple[str, int], Route] = {}
        self._kept: set[tuple[str, int]] = set()  # which the server refused to cancel

    def add(self, route: Route) -> None:
        """Route connections from now on."""
        self._routes[route.address, route.port] = route
        self._left.pop((route.address, route.port), None)

    def remove(self, route: Route) -> None:
        """Accept them no more; also for one that was never added, as nobody waited for it."""
        key = (route.address, route.port)
        if self._routes.get(key, route) == route:
            self._routes.pop(key, None)
            self._left[key] = route

    def is_only_chosen(self, route: Route) -> bool:
        """Whether the server chose a port for no other route of the same address."""
        known = [*self._routes.values(), *self._left.values()]
        return [route] == [one for one in known if one.is_chosen and one.address == route.address]

    def closed(self, route: Route) -> None:
        """The server listens no more for one that was removed."""
        if (route.address, route.port) in self._left:
            self._left[route.address, route.port] = replace(route, is_chosen=False)

    def keep(self, route: Route) -> None:
        """The server refused to cancel this listener, as Dropbear and Erlang do: it listens there
        until the link ends, and grants no second listener."""
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
        """The routes that a client may have come for, those that were removed among them.

        RFC 4254 section 7.2 has the server name what it was asked for. Some name what they resolved
        the address to; Twisted Conch says 0 for a port that it chose.
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
        """Signs of life are answered by a refusal, which is the usual answer."""
        return None
