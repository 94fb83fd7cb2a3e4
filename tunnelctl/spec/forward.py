"""One forward rule: which side listens, and which side names the destination. Frozen and pure.

A forward is a pair, not a list of kinds: the listening side (here or the server) times the source
of the target (fixed, or requested by a SOCKS client).
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.permit import Permit


class Side(StrEnum):
    """The side of the listener: this machine, or the SSH server."""

    HERE = "here"
    THERE = "there"


@dataclass(frozen=True, slots=True)
class WhileDown:
    """Handling of a client that connects while the link is down.

    It waits `hold` seconds in the queue, and is reset then; 0 resets it at once (`refuse`).
    """

    hold: float = 10.0


class ProbeType(StrEnum):
    """How to check whether the target of a forward works."""

    TCP = "tcp"
    HTTP = "http"
    COMMAND = "command"
    NONE = "none"


class OnUnhealthy(StrEnum):
    """The consequence of an unhealthy target."""

    REPORT = "report"
    RECONNECT = "reconnect"


class Inspect(StrEnum):
    """The protocol that the inspector reads in the data of a forward."""

    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Probe:
    """A check of the target through the tunnel. Times in seconds.

    `unasked`: the profile does not mention it, so a healthy target is checked rarely.
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
    """One rule of a profile. `target` is None if the client names it (the dynamic kinds)."""

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
    allow: tuple[IPv4Network | IPv6Network, ...] = ()  # clients; (): all that can reach it
    permit: tuple[Permit, ...] = ()  # targets that clients of a remote_dynamic may request
    # An existing socket file on the server may be removed, with a shell.
    unlink_remote: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    inspect: Inspect | None = None

    @property
    def type(self) -> str:
        """The name in the status document: local, remote, dynamic or remote_dynamic."""
        if self.target is None:
            return "dynamic" if self.side is Side.HERE else "remote_dynamic"
        return "local" if self.side is Side.HERE else "remote"

    def admits(self, client: str) -> bool:
        """Whether `allow` admits a client from that address; "" for a unix socket, which has
        none."""
        if not self.allow or not client:
            return True
        try:
            address = ip_address(client.partition("%")[0])
        except ValueError:  # the address that a server reports for its client may be malformed
            return False
        return any(address in network for network in self.allow)
