"""The amount of work of a run: enough for figures, or just enough to see that every part works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """The amounts of one run. Seconds are for one measurement of one peer in one round."""

    rounds: int = 5
    transfer_seconds: float = 2.0
    pings: int = 3000
    ping_seconds: float = 10.0  # at most
    beside_seconds: float = 3.0
    connect_seconds: float = 2.0
    connects_at_once: int = 100
    streams: int = 50
    streams_seconds: float = 3.0
    far_rounds: int = 3
    far_seconds: float = 6.0
    # The first ones include costs that further ones do not (threads for logins).
    few_hosts: int = 10
    more_hosts: int = 50
    more_connections: int = 1000
    idle_hosts: int = 200
    idle_connections: int = 1000
    idle_seconds: float = 10.0


FULL = Effort()
QUICK = Effort(
    rounds=1,
    transfer_seconds=0.2,
    pings=100,
    ping_seconds=1.0,
    beside_seconds=0.3,
    connect_seconds=0.2,
    connects_at_once=20,
    streams=5,
    streams_seconds=0.2,
    far_rounds=1,
    far_seconds=0.5,
    few_hosts=1,
    more_hosts=2,
    more_connections=20,
    idle_hosts=3,
    idle_connections=30,
    idle_seconds=0.5,
)
