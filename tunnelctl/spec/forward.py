"""One forward rule: which side listens, and who names the destination. Frozen and pure.

A forward is a pair, not a list of kinds: the listening side (here or there) times how the
target is named (fixed, or asked for by a SOCKS client).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address

from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.permit import Permit


class Side(StrEnum):
    """Where the listener is: on this machine, or on the SSH server."""

    HERE = "here"
    THERE = "there"


@dataclass(frozen=True, slots=True)
class WhileDown:
    """What becomes of a client that comes while the link is down.

    `hold` seconds in the queue, then a reset; 0 resets at once (`refuse`).
    """

    hold: float = 10.0


class ProbeType(StrEnum):
    """How the target of a forward is asked whether it lives."""

    TCP = "tcp"
    HTTP = "http"
    COMMAND = "command"
    NONE = "none"


class OnUnhealthy(StrEnum):
    """What an unhealthy target leads to."""

    REPORT = "report"
    RECONNECT = "reconnect"


@dataclass(frozen=True, slots=True)
class Probe:
    """A question put to the target through the tunnel. Times in seconds.

    `unasked`: the profile says nothing of it, so a target that is well is asked rarely.
    """

    type: ProbeType = ProbeType.NONE
    interval: float = 10.0
    timeout: float = 3.0
    rise: int = 1
    fall: int = 3
    path: str = "/"
    status: int = 200
    command: tuple[str, ...] = ()
    unasked: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """One rule of a profile. `target` is None where the client names it (the dynamic kinds)."""

    name: str
    side: Side
    listen: Endpoint
    target: Endpoint | None
    via: str
    while_down: WhileDown = field(default_factory=WhileDown)
    max_connections: int = 256
    expose: bool = False
    required: bool = True
    probe: Probe = field(default_factory=Probe)
    on_unhealthy: OnUnhealthy = OnUnhealthy.REPORT
    allow: tuple[IPv4Network | IPv6Network, ...] = ()  # clients; (): whoever can reach it
    permit: tuple[Permit, ...] = ()  # targets that a remote_dynamic may be asked for
    unlink_remote: bool = False  # a socket file in the way on the server may be removed, by a shell
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def type(self) -> str:
        """The word of the status document: local, remote, dynamic or remote_dynamic."""
        if self.target is None:
            return "dynamic" if self.side is Side.HERE else "remote_dynamic"
        return "local" if self.side is Side.HERE else "remote"

    def admits(self, client: str) -> bool:
        """Whether `allow` admits a client from that address; "" for a unix socket: it has none."""
        if not self.allow or not client:
            return True
        try:
            address = ip_address(client.partition("%")[0])
        except ValueError:  # what a server reports as its client need not be an address
            return False
        return any(address in network for network in self.allow)
