"""The events of status as frozen values: changes, and questions of logins.

Must never guess: each field is the last value that its owner reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.fleet_status import FleetStatus
from tunnelctl.state.documents.snapshot import ErrorStatus, error_json

# The start of an event's message that is a line of a server's session.
SAYS = "the server says: "


class EventKind(StrEnum):
    """The subject of an event."""

    PROFILE = "profile"
    HOST = "host"
    FORWARD = "forward"
    HEALTH = "health"
    CONNECTION = "connection"
    QUESTION = "question"  # only for those who answer questions


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """One change, as `events`, `logs` and the attached `up` show it. `at` is RFC 3339; `fleet` is
    what this machine is for the profile of an event about a profile, or None without a fleet."""

    at: str
    kind: EventKind
    profile: str
    name: str  # of the host or forward; empty for the profile itself
    state: str
    message: str
    error: ErrorStatus | None = None
    fleet: FleetStatus | None = None

    def as_json(self) -> dict[str, Any]:
        """The data of one server-sent event."""
        fleet = {} if self.fleet is None else {"fleet": self.fleet.as_json()}
        return {
            "at": self.at,
            "kind": str(self.kind),
            "profile": self.profile,
            "name": self.name,
            "state": self.state,
            "message": self.message,
            "error": error_json(self.error),
            **fleet,
        }

    @classmethod
    def from_json(cls, event: Mapping[str, Any]) -> Self:
        """The value that `as_json` wrote."""
        return cls(**_fields(event))


@dataclass(frozen=True, slots=True)
class QuestionEvent(StatusEvent):
    """`state` is `asked`, then `closed`: it was answered, or is not needed any more. `message` is
    the prompt.

    `host` asks: the host `name` itself, or a hop or fallback of it.
    """

    id: str = ""
    host: str = ""
    about: str = ""  # a QuestionKind
    echo: bool = False
    remember: bool | None = None  # the answer is kept; False: if the person says so; None: never

    def as_json(self) -> dict[str, Any]:
        """The data of one server-sent event."""
        more = {
            "id": self.id,
            "host": self.host,
            "about": self.about,
            "echo": self.echo,
            "remember": self.remember,
        }
        # `super()` does not work in a class with slots, which is made anew.
        return {**StatusEvent.as_json(self), **more}

    @classmethod
    def from_json(cls, event: Mapping[str, Any]) -> Self:
        """The value that `as_json` wrote. An earlier daemon may omit what has a default."""
        more = {key: event[key] for key in ("host", "about", "echo", "remember") if key in event}
        return cls(**_fields(event), id=event["id"], **more)


def from_json(event: Mapping[str, Any]) -> StatusEvent | None:
    """The data of one server-sent event; None for a kind that this version does not know, so that
    an attached command outlives what a later daemon adds.

    Raises:
        ValueError: a daemon of another version left out something that this version needs.
    """
    kind = event.get("kind")
    if isinstance(kind, str) and kind not in set(EventKind):
        return None
    try:
        is_question = kind == EventKind.QUESTION
        return (QuestionEvent if is_question else StatusEvent).from_json(event)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an event of tunnelctl: {error!r}") from None


def _fields(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "at": event["at"],
        "kind": EventKind(event["kind"]),
        "profile": event["profile"],
        "name": event["name"],
        "state": event["state"],
        "message": event["message"],
        "error": ErrorStatus.from_json(event.get("error")),
        "fleet": FleetStatus.from_json(event.get("fleet")),
    }
