"""Ports that servers may still hold for us: those of lost links, and of killed daemons.

A server frees a port when it notices the loss of its session, which may take hours. Until then a
new session cannot have it, and messages name the forward that has it. Owns the memory of these
ports, and its duration. Must never take another program's port for ours without such a memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

from tunnelctl import clock
from tunnelctl.net.addresses import collide
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import Endpoint

# With ClientAliveInterval 0, the server relies on its kernel: tcp(7), tcp_keepalive_time and then
# nine probes, 75 s apart.
_MISSED_WITHIN = 7200.0 + 9 * 75.0


@dataclass(frozen=True, slots=True)
class HeldPort:
    """A port that the forward `owner`, PROFILE/FORWARD, got at `server`, HOST:PORT.

    `lost` is when its link was lost, in seconds since 1970; None while the link lives.
    """

    owner: str
    server: str
    listen: Endpoint
    lost: float | None = None


class HeldPorts:
    """The ports of all forwards of a daemon, and those that remain of earlier daemons. `on_change`
    is called after each change."""

    def __init__(self) -> None:
        self.on_change: Callable[[], object] = lambda: None
        # Profiles whose ports another machine may have held until now: its server frees them when
        # it notices that the machine is gone.
        self.taken_over: Collection[str] = ()
        self._ports: dict[tuple[str, Endpoint], HeldPort] = {}

    def __iter__(self) -> Iterator[HeldPort]:
        return iter(tuple(self._ports.values()))

    def restore(self, ports: Iterable[HeldPort]) -> None:
        """Add those of the last daemon. A link that it did not lose was lost with it."""
        now = clock.wall().timestamp()
        for port in ports:
            lost = replace(port, lost=now if port.lost is None else port.lost)
            self._ports[port.server, port.listen] = lost
        self._forget_old()

    def granted(self, port: HeldPort) -> None:
        """The server listens there for us."""
        self._ports[port.server, port.listen] = port
        self._forget_old()
        self.on_change()

    def lost(self, server: str, listen: Endpoint) -> None:
        """The link has ended, and the server may not know it yet."""
        port = self._ports.get((server, listen))
        if port is not None and port.lost is None:
            self._ports[server, listen] = replace(port, lost=clock.wall().timestamp())
            self.on_change()

    def released(self, server: str, listen: Endpoint) -> None:
        """The server was asked to stop listening."""
        if self._ports.pop((server, listen), None) is not None:
            self.on_change()

    def keeper(self, server: str, listen: Endpoint) -> HeldPort | None:
        """The port of a lost link that may occupy `listen`, or None."""
        self._forget_old()
        for port in self._ports.values():
            is_there = port.server == server and port.listen.port == listen.port
            if is_there and port.lost is not None and collide(port.listen.host, listen.host):
                return port
        return None

    def _forget_old(self) -> None:
        oldest = clock.wall().timestamp() - _MISSED_WITHIN
        for place, port in tuple(self._ports.items()):
            if port.lost is not None and port.lost < oldest:
                del self._ports[place]
