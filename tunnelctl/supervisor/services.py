"""The services that all tunnels of a supervisor share."""

from __future__ import annotations

from dataclasses import field
from random import Random

from tunnelctl.forward.client_connections import ConnectionLog
from tunnelctl.forward.remote.held_ports import HeldPorts
from tunnelctl.inspect.inspector import Inspector
from tunnelctl.net.reactor import Reactor
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.supervisor.forwards.eviction import Eviction
from tunnelctl.supervisor.journal import Journal
from tunnelctl.supervisor.logins.handshakes import Handshakes
from tunnelctl.supervisor.logins.neighbours import Neighbours
from tunnelctl.supervisor.logins.question_desk import Questions


@dataclass(frozen=True, slots=True)
class Services:
    """Made once by the supervisor. `random` spreads the retries of its tunnels."""

    reactor: Reactor
    journal: Journal
    handshakes: Handshakes
    random: Random
    questions: Questions
    inspector: Inspector
    neighbours: Neighbours = field(default_factory=Neighbours)
    held: HeldPorts = field(default_factory=HeldPorts)
    log: ConnectionLog = field(default_factory=ConnectionLog)
    eviction: Eviction = field(default_factory=Eviction)
