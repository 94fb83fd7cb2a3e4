"""The connections of all forwards, and the last that ended, as every face shows them.

Must never ask /proc on the loop, nor make a long list in one step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from tunnelctl import clock
from tunnelctl.forward.client_connections import ClientConnection, ConnectionLog, Connections
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.record import Ending
from tunnelctl.state.documents.connection_status import (
    ClientProcess,
    ConnectionEnd,
    ConnectionList,
    ConnectionState,
    ConnectionStatus,
    End,
)
from tunnelctl.supervisor.journal import error_status
from tunnelctl.supervisor.records.client_processes import ClientProcesses
from tunnelctl.supervisor.records.rates import ConnectionRates, Rate

# Connections that are described before other work gets its turn.
_AT_ONCE: Final = 100
_NO_RATE: Final[Rate] = (0.0, 0.0)

_HOW: Final = {
    Ending.FIN: ConnectionEnd.FIN,
    Ending.LEFT: ConnectionEnd.LEFT,
    Ending.RESET_HERE: ConnectionEnd.RESET,
    Ending.RESET_THERE: ConnectionEnd.RESET,
    Ending.REFUSED: ConnectionEnd.REFUSED,
    Ending.CLOSED: ConnectionEnd.CLOSED,
    Ending.LINK_LOST: ConnectionEnd.SESSION_LOST,
}


@dataclass(frozen=True, slots=True)
class WantedConnections:
    """The connections that are asked for: of one profile, of the forwards of one name, or all.
    `processes`: with those of the clients on this machine."""

    profile: str | None = None
    forward: str | None = None
    processes: bool = False

    def takes(self, forward: Connections) -> bool:
        """Whether those of this forward are."""
        return self.profile in (None, forward.profile) and self.forward in (None, forward.name)


# The connections of a forward, and the links of its host in the order of its status.
Served = tuple[Connections, Sequence[Link]]


class ConnectionStatuses:
    """`served` returns the forwards; `log` has the connections that ended."""

    def __init__(self, log: ConnectionLog, served: Callable[[], Iterable[Served]]) -> None:
        self._log = log
        self._served = served
        self._rates = ConnectionRates(self._living)
        self._processes = ClientProcesses()

    def close(self, number: str) -> bool:
        """Reset the connection of this id, whatever its state; returns whether there is one."""
        found = next((one for one in self._living() if str(one.number) == number), None)
        if found is not None:
            found.close()
        return found is not None

    async def look(self, wanted: WantedConnections) -> ConnectionList:
        """The current list. Waits half a second if nobody asked lately, see `ConnectionRates`."""
        await self._rates.look()
        served = [one for one in self._served() if wanted.takes(one[0])]
        living = [(one, links) for forward, links in served for one in forward]
        if wanted.processes:
            self._processes.keep({one.number for one in (*self._living(), *self._log.ended)})
            await self._processes.look([one for one, _ in living])
        now, statuses = _Now(), []
        for count, (connection, links) in enumerate(living, 1):
            if not connection.until:  # it may have ended meanwhile
                rate, link = self._rates.of(connection), _position(connection, links)
                process = self._processes.of(connection) if wanted.processes else None
                statuses.append(_status(connection, now, process, rate, link))
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return ConnectionList(tuple(statuses), tuple(self._ended(wanted, now)))

    def _ended(self, wanted: WantedConnections, now: _Now) -> Iterator[ConnectionStatus]:
        for connection in tuple(self._log.ended):
            if wanted.takes(connection.forward):
                process = self._processes.of(connection) if wanted.processes else None
                yield _status(connection, now, process)

    def _living(self) -> Iterator[ClientConnection]:
        return (connection for forward, _ in self._served() for connection in forward)


class _Now:
    """The moment of a list, for times of the monotonic clock."""

    def __init__(self) -> None:
        self._wall: datetime = clock.wall()
        self._monotonic = clock.monotonic()

    def text(self, moment: float) -> str:
        """RFC 3339."""
        return clock.rfc3339(self._wall - timedelta(seconds=self._monotonic - moment))


def _status(
    connection: ClientConnection,
    now: _Now,
    process: ClientProcess | None,
    rate: Rate = _NO_RATE,
    link: int | None = None,
) -> ConnectionStatus:
    forward, target, ending = connection.forward, connection.target, connection.ending
    come, gone = connection.to_socket, connection.from_socket
    rate_out, rate_in = rate
    if not forward.listening_here:
        come, gone, rate_in, rate_out = gone, come, rate_out, rate_in
    has_ended = connection.until > 0
    return ConnectionStatus(
        id=str(connection.number),
        profile=forward.profile,
        forward=forward.name,
        client=connection.client,
        target=None if target is None else str(target),
        host=forward.host,
        since=now.text(connection.since),
        state=_state(connection),
        process=process,
        link=link,
        bytes_in=come,
        bytes_out=gone,
        rate_in=round(rate_in, 1),
        rate_out=round(rate_out, 1),
        until=now.text(connection.until) if has_ended else None,
        how=_HOW[ending] if has_ended and ending is not None else None,
        reset_by=_reset_by(connection) if has_ended else None,
        error=error_status(connection.failure),
    )


def _state(connection: ClientConnection) -> ConnectionState:
    if connection.until:
        return ConnectionState.ENDED
    if connection.link is None:
        return ConnectionState.WAITING
    relay = connection.relay
    is_open = relay is not None and relay.is_established
    return ConnectionState.OPEN if is_open else ConnectionState.OPENING


def _reset_by(connection: ClientConnection) -> End | None:
    here = connection.forward.listening_here
    if connection.ending is Ending.RESET_HERE:
        return End.CLIENT if here else End.TARGET
    if connection.ending is Ending.RESET_THERE:
        return End.TARGET if here else End.CLIENT
    return None


def _position(connection: ClientConnection, links: Sequence[Link]) -> int | None:
    """That of its link in the status of the host, from 1; None for one that only carries what it
    carries."""
    places = (place for place, link in enumerate(links, 1) if link is connection.link)
    return next(places, None)
