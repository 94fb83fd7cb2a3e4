"""The document of `GET /v1/connections` (docs/api.md) as frozen values, which every face reads.

Must never guess: what is not known is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.api_version import API_VERSION
from tunnelctl.state.documents.snapshot import ErrorStatus, error_json


class ConnectionState(StrEnum):
    """How far a client has got."""

    WAITING = "waiting"  # for the link
    OPENING = "opening"  # its target is being named, or connected to
    OPEN = "open"
    ENDED = "ended"


class ConnectionEnd(StrEnum):
    """How a connection ended."""

    FIN = "fin"  # both sides ended their streams
    RESET = "reset"  # one side broke it; `reset_by` is which, if known
    REFUSED = "refused"  # it was never open; the error says why
    LEFT = "left"  # the client left before it was open
    CLOSED = "closed"  # by an order: of a user, or the end of its forward or profile
    SESSION_LOST = "session-lost"  # the link was lost


class End(StrEnum):
    """One of the two ends of a connection."""

    CLIENT = "client"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class ClientProcess:
    """The process of a client on this machine. Of another user's process often only the user is
    known: then `pid` is None, and `name` empty."""

    pid: int | None
    name: str
    user: str

    def as_json(self) -> dict[str, Any]:
        """The object under `process`."""
        return {"pid": self.pid, "name": self.name, "user": self.user}

    @classmethod
    def from_json(cls, process: Mapping[str, Any] | None) -> Self | None:
        """The value that `as_json` wrote, or None."""
        return None if process is None else cls(process["pid"], process["name"], process["user"])


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection. `bytes_out` went to the target, `bytes_in` came back; rates are in bytes a
    second, and 0 once it has ended. `since` and `until` are RFC 3339.

    `id` is unique in the life of a daemon. `client` is its address, `pid N` or `unix` for a unix
    socket, and what the server says about a client there. `process` is None unless it was asked
    for and found. `target` is None until a SOCKS client has named it. `link` is the position of
    its link in the `links` of the host, from 1; None while it has none, and once it has ended.
    """

    id: str
    profile: str
    forward: str
    client: str
    target: str | None
    host: str
    since: str
    state: ConnectionState
    process: ClientProcess | None = None
    link: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    rate_in: float = 0.0
    rate_out: float = 0.0
    until: str | None = None
    how: ConnectionEnd | None = None
    reset_by: End | None = None
    error: ErrorStatus | None = None

    def as_json(self) -> dict[str, Any]:
        """One element of `connections` or `ended`."""
        return {
            "id": self.id,
            "profile": self.profile,
            "forward": self.forward,
            "client": self.client,
            "process": None if self.process is None else self.process.as_json(),
            "target": self.target,
            "host": self.host,
            "link": self.link,
            "since": self.since,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "rate_in": self.rate_in,
            "rate_out": self.rate_out,
            "state": str(self.state),
            "until": self.until,
            "how": None if self.how is None else str(self.how),
            "reset_by": None if self.reset_by is None else str(self.reset_by),
            "error": error_json(self.error),
        }

    @classmethod
    def from_json(cls, connection: Mapping[str, Any]) -> Self:
        """The value that `as_json` wrote."""
        how, reset_by = connection["how"], connection["reset_by"]
        return cls(
            id=connection["id"],
            profile=connection["profile"],
            forward=connection["forward"],
            client=connection["client"],
            process=ClientProcess.from_json(connection["process"]),
            target=connection["target"],
            host=connection["host"],
            link=connection["link"],
            since=connection["since"],
            bytes_in=connection["bytes_in"],
            bytes_out=connection["bytes_out"],
            rate_in=connection["rate_in"],
            rate_out=connection["rate_out"],
            state=ConnectionState(connection["state"]),
            until=connection["until"],
            how=None if how is None else ConnectionEnd(how),
            reset_by=None if reset_by is None else End(reset_by),
            error=ErrorStatus.from_json(connection["error"]),
        )


@dataclass(frozen=True, slots=True)
class ConnectionList:
    """The whole document: the living connections, oldest first in each forward, and the last that
    ended in the daemon, in the order in which they did."""

    connections: tuple[ConnectionStatus, ...] = ()
    ended: tuple[ConnectionStatus, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document that `GET /v1/connections` answers with."""
        return {
            "api_version": API_VERSION,
            "connections": [connection.as_json() for connection in self.connections],
            "ended": [connection.as_json() for connection in self.ended],
        }


def from_json(document: Mapping[str, Any]) -> ConnectionList:
    """The document that `ConnectionList.as_json` wrote.

    Raises:
        ValueError: a daemon of another version sent something that this version does not know.
    """
    try:
        return ConnectionList(
            tuple(map(ConnectionStatus.from_json, document["connections"])),
            tuple(map(ConnectionStatus.from_json, document["ended"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of connections of tunnelctl: {error!r}") from None
