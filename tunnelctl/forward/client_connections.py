"""The connections of one forward: recorded, counted, and ended together.

Owns the record of each, from the client's arrival until it has ended. Must never lose one, and
never write text about one that nobody asked for: the record is all that a connection costs.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final

from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.forward.channel_requests import Origin
from tunnelctl.net.peers import peer_pid
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.ssh.link.info import printable_word
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.record import Ending, Record, Traffic
from tunnelctl.ssh.link.relay import Relay
from tunnelctl.ssh.link.tap import Tap

_ENDED_KEPT: Final = 100


class ConnectionLog:
    """The numbers of a daemon's connections, and the last that ended, oldest first."""

    def __init__(self, kept: int = _ENDED_KEPT) -> None:
        self.ended: deque[ClientConnection] = deque(maxlen=kept)
        self._last = 0

    def next_number(self) -> int:
        """A number that no connection had before."""
        self._last += 1
        return self._last


class ClientConnection(Record):
    """The record of one connection. Times are those of `clock.monotonic`.

    `host` and `port` are the client's address, `target` is None until a SOCKS client has named it.
    While it lives, `sock` is the socket of a client on this machine, and `link` is set once one
    serves it. Once it has ended, `ending` is how, and `failure` why it was refused, if it was.
    """

    __slots__ = (
        "ending",
        "failure",
        "forward",
        "give_up",
        "host",
        "link",
        "number",
        "port",
        "relay",
        "since",
        "sock",
        "target",
        "until",
    )

    def __init__(
        self,
        forward: Connections,
        number: int,
        origin: Origin,
        sock: socket.socket | None,
        target: Endpoint | None,
    ) -> None:
        super().__init__(forward.counters.traffic)
        self.forward = forward
        self.number = number
        # Most clients have the same one: a text for each would be a fifth of the record.
        self.host = sys.intern(origin[0])
        self.port = origin[1]
        self.sock = sock
        self.target = target
        self.since: float = clock.monotonic()
        self.until: float = 0.0
        self.link: Link | None = None
        self.relay: Relay | None = None
        self.ending: Ending | None = None
        self.failure: Failure | None = None
        # Ends it while it has no relay.
        self.give_up: Callable[[], None] | None = None

    @property
    def client(self) -> str:
        """The client's address; `pid N` or `unix` for a unix socket."""
        if self.host:
            return str(Endpoint(printable_word(self.host), self.port))  # a server may say anything
        pid = None if self.sock is None else peer_pid(self.sock)
        return "unix" if pid is None else f"pid {pid}"

    def ended(self, how: Ending) -> None:
        """See Record; also called for one that never had a relay. Who knew a cause before has set
        `ending`."""
        if self.ending is None:
            self.ending = how
        self.until = clock.monotonic()
        self.sock = self.link = self.relay = self.give_up = None
        if self.tap is not None:
            self.tap.ended()
            self.tap = None
        self.forward.left(self)

    def close(self) -> None:
        """End it now by an order: a reset for the client, and CLOSE for the peer."""
        if self.relay is not None:
            self.relay.abort()
        else:
            self.end_early(Ending.CLOSED)

    def end_early(self, how: Ending) -> None:
        """End it now, while it has no relay."""
        self.ending = how
        if self.give_up is not None:
            self.give_up()


class Counters:
    """Of one forward. `bytes_out` went to the target, `bytes_in` came back."""

    def __init__(self, *, listening_here: bool) -> None:
        self.open = 0
        self.total = 0
        self.failures: Counter[Code] = Counter()
        self.traffic = Traffic()  # of all connections together
        self._listening_here = listening_here

    @property
    def bytes_in(self) -> int:
        """The bytes that came from the target."""
        return self.traffic.to_socket if self._listening_here else self.traffic.from_socket

    @property
    def bytes_out(self) -> int:
        """The bytes that went to the target."""
        return self.traffic.from_socket if self._listening_here else self.traffic.to_socket

    @property
    def failed(self) -> int:
        """The number of clients that did not reach their target."""
        return self.failures.total()


class Connections:
    """The connections of one forward, `name` of `profile` over `host`. `listening_here`: the
    clients are on this machine."""

    def __init__(
        self,
        reactor: Reactor,
        log: ConnectionLog,
        *,
        listening_here: bool,
        profile: str = "",
        name: str = "",
        host: str = "",
    ) -> None:
        self.counters = Counters(listening_here=listening_here)
        self.listening_here = listening_here
        self.profile, self.name, self.host = profile, name, host
        self._reactor = reactor
        self._log = log
        self._living: set[ClientConnection] = set()
        self._none_left: asyncio.Event | None = None
        # For the connections that begin from now on.
        self.make_tap: Callable[[ClientConnection], Tap] | None = None

    def __iter__(self) -> Iterator[ClientConnection]:
        return iter(sorted(self._living, key=_number))

    def began(
        self,
        origin: Origin,
        sock: socket.socket | None = None,
        target: Endpoint | None = None,
    ) -> ClientConnection:
        """A client came."""
        self.counters.open += 1
        self.counters.total += 1
        number = self._log.next_number()
        connection = ClientConnection(self, number, origin, sock, target)
        self._living.add(connection)
        return connection

    def relay(
        self,
        connection: ClientConnection,
        link: Link,
        sock: socket.socket,
        on_refused: Callable[[int, str], bytes] | None = None,
    ) -> Relay:
        """The relay of a connection, which ends with it."""
        if self.make_tap is not None:
            connection.tap = self.make_tap(connection)
        relay = Relay(self._reactor, link, sock, connection, on_refused)
        connection.link, connection.relay = link, relay
        return relay

    def failed(
        self,
        connection: ClientConnection,
        code: Code,
        how: Ending = Ending.REFUSED,
        failure: Failure | None = None,
    ) -> None:
        """A client was turned away, or left, before its relay began."""
        self.counters.failures[code] += 1
        connection.failure = failure
        connection.ended(how)

    def refused(self, connection: ClientConnection, failure: Failure) -> None:
        """The far side refused a client that has a relay, which is about to end."""
        self.counters.failures[failure.code] += 1
        connection.failure = failure

    def left(self, connection: ClientConnection) -> None:
        """It has ended."""
        self._living.remove(connection)
        self._log.ended.append(connection)
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
        self.cut()

    def cut(self) -> None:
        """Reset all connections now."""
        for connection in self:
            if connection.relay is not None:
                connection.close()


def _number(connection: ClientConnection) -> int:
    return connection.number
