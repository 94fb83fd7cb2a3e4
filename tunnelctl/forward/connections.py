"""The connections of one forward: counted, and ended together.

Owns the relays of a forward. Must never lose one: every connection is counted until it has ended.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tunnelctl.errors import Code
from tunnelctl.net.reactor import Reactor
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.relay import Relay, Traffic


@dataclass(slots=True)
class Counters:
    """`bytes_out` went to the target, `bytes_in` came back."""

    open: int = 0
    total: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    failures: Counter[Code] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        """The number of clients that did not reach their target."""
        return self.failures.total()


class _TowardTarget(Traffic):
    """The socket is a client's: its bytes go to the target."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def from_socket(self, count: int) -> None:
        self._counters.bytes_out += count

    def to_socket(self, count: int) -> None:
        self._counters.bytes_in += count


class _FromTarget(Traffic):
    """The socket is the target's."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def from_socket(self, count: int) -> None:
        self._counters.bytes_in += count

    def to_socket(self, count: int) -> None:
        self._counters.bytes_out += count


class Connections:
    """The connections of one forward. `listening_here`: the clients are on this machine."""

    def __init__(self, reactor: Reactor, *, listening_here: bool) -> None:
        self.counters = Counters()
        self._reactor = reactor
        self._traffic = (_TowardTarget if listening_here else _FromTarget)(self.counters)
        self._relays: set[Relay] = set()
        self._none_left: asyncio.Event | None = None

    def relay(
        self,
        link: Link,
        sock: socket.socket,
        on_refused: Callable[[int, str], bytes] | None = None,
    ) -> Relay:
        """A relay for a connection that was counted by `began`."""
        relay = Relay(self._reactor, link, sock, self._traffic, self._ended, on_refused)
        self._relays.add(relay)
        return relay

    def began(self) -> None:
        """A client came."""
        self.counters.open += 1
        self.counters.total += 1

    def failed(self, code: Code) -> None:
        """A client was turned away, or left, before its relay began."""
        self.counters.failures[code] += 1
        self._left()

    def refused(self, code: Code) -> None:
        """The far side refused a client that has a relay, which is about to end."""
        self.counters.failures[code] += 1

    def _ended(self, relay: Relay) -> None:
        self._relays.discard(relay)
        self._left()

    def _left(self) -> None:
        self.counters.open -= 1
        if not self.counters.open and self._none_left is not None:
            self._none_left.set()

    async def close(self, drain: float) -> None:
        """Let connections end for `drain` seconds, then reset them.

        A second call while the first waits may set a shorter time.
        """
        if self.counters.open and drain > 0:
            self._none_left = self._none_left or asyncio.Event()
            try:
                async with asyncio.timeout(drain):
                    await self._none_left.wait()
            except TimeoutError:
                pass
        for relay in tuple(self._relays):
            relay.abort()
