"""What an SSH server may ask of us: connections to the ports that we asked it to listen on.

Owns the routes from a listening address on the server to whoever asked for it. Must never
accept a channel that was not asked for (RFC 4254 section 7.2), nor a session, an agent or X11.
"""

from __future__ import annotations

from collections.abc import Callable

from tunnelctl.ssh.link import Link
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure, Reader

# Called with the open that waits for an answer.
OnOpen = Callable[[IncomingOpen], None]


class RemoteOpens:
    """The client's side of a connection, as its Acceptor."""

    def __init__(self, link: Link) -> None:
        self._title = link.settings.title
        self._routes: dict[tuple[str, int], OnOpen] = {}

    def add(self, address: str, port: int, on_open: OnOpen) -> None:
        """Route connections to what the server was asked to listen on; `port` is the real one,
        and 0 for a unix socket, whose path is the address."""
        self._routes[address, port] = on_open

    def remove(self, address: str, port: int) -> None:
        """Accept them no more."""
        self._routes.pop((address, port), None)

    def channel_open(self, incoming: IncomingOpen) -> None:
        """Route `forwarded-tcpip` and `forwarded-streamlocal`, refuse everything else."""
        if incoming.kind == "forwarded-tcpip":
            route = self._find(incoming.data.text(), incoming.data.u32())
        elif incoming.kind == "forwarded-streamlocal@openssh.com":
            route = self._routes.get((incoming.data.text(), 0))
        else:
            incoming.reject(OpenFailure.ADMINISTRATIVELY_PROHIBITED, "not offered by this client")
            return
        if route is None:
            incoming.reject(
                OpenFailure.ADMINISTRATIVELY_PROHIBITED, "this forward was not asked for"
            )
        else:
            route(incoming)

    def _find(self, address: str, port: int) -> OnOpen | None:
        """The exact address, or the port alone if it is unique: some servers send what they
        resolved the address to."""
        if port == 0:  # a unix socket, which is opened by another name
            return None
        exact = self._routes.get((address, port))
        if exact is not None:
            return exact
        same_port = [route for (_, known), route in self._routes.items() if known == port]
        return same_port[0] if len(same_port) == 1 else None

    def global_request(self, name: str, data: Reader) -> bytes | None:
        """Signs of life are answered by a refusal, which is the usual answer."""
        return None
