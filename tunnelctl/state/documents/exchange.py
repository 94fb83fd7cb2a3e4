"""One HTTP exchange as the inspector shows it: `GET /v1/requests/PROFILE/FORWARD` (docs/api.md).

Owns its form in JSON. An exchange grows while its bytes pass: one thread fills it, others read it.
Must never contain a value that was to be blacked out: `tunnelctl.inspect` removes it before.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Self

from tunnelctl.quick_dataclass import dataclass

# What stands for the value of a header that is not kept.
BLACKED_OUT = "[blacked out]"
# The headers whose values are never kept, in lower case.
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})
_FRAMES_KEPT = 1000  # of one connection

Headers = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class HttpMessage:
    """A request or a response. `version` is `HTTP/1.1`; `size` is the length of the whole body in
    bytes, as it was transferred but without the framing of chunks; `body` is its first part.
    `is_cut`: the connection ended before the body did; of a request also that it has not ended."""

    version: str
    headers: Headers
    size: int = 0
    body: bytearray = field(default_factory=bytearray)
    is_cut: bool = False

    @property
    def truncated(self) -> bool:
        """Whether `body` is not all of the body."""
        return self.is_cut or self.size > len(self.body)

    def value(self, name: str) -> str:
        """The first header of this lower-case name; empty if there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def as_json(self) -> dict[str, Any]:
        """`request` and `response` of an exchange. The body is text if it can be."""
        body = bytes(self.body)
        text = _text(body, is_part=self.truncated)
        encoded = base64.b64encode(body).decode() if text is None else None
        return {
            "version": self.version,
            "headers": [list(pair) for pair in self.headers],
            "size": self.size,
            "body": text,
            "body_base64": encoded,
            "truncated": self.truncated,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The value that `as_json` wrote; a text that was cut within a character lacks its start.

        Raises:
            KeyError, TypeError, ValueError: it did not.
        """
        text, encoded = document["body"], document["body_base64"]
        body = base64.b64decode(encoded) if text is None else text.encode()
        headers = tuple((str(name), str(value)) for name, value in document["headers"])
        size = int(document["size"])
        is_cut = bool(document["truncated"]) and size <= len(body)
        return cls(str(document["version"]), headers, size, bytearray(body), is_cut)


@dataclass(frozen=True, slots=True)
class Frame:
    """One message over a websocket, or one control frame: `kind` is text, binary, ping, pong or
    close; `size` is that of its payload as transferred, in bytes."""

    sender: str  # client or server
    kind: str
    size: int
    at: str  # RFC 3339

    def as_json(self) -> dict[str, Any]:
        """One element of `websocket`."""
        return {"from": self.sender, "kind": self.kind, "size": self.size, "at": self.at}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The value that `as_json` wrote. Raises as HttpMessage.from_json."""
        return cls(
            str(document["from"]),
            str(document["kind"]),
            int(document["size"]),
            str(document["at"]),
        )


@dataclass(slots=True)
class HttpExchange:
    """A request and its response, as far as they came. `id` is unique in the daemon's life.

    `duration_ms` is the time from the first byte of the request to the last one of the response;
    None while it lasts.
    """

    id: int
    started_at: str  # RFC 3339
    method: str
    path: str
    request: HttpMessage
    client: str
    connection: str
    status: int | None = None
    response: HttpMessage | None = None
    duration_ms: float | None = None
    websocket: deque[Frame] = field(default_factory=lambda: deque(maxlen=_FRAMES_KEPT))

    @property
    def has_ended(self) -> bool:
        """Whether nothing more belongs to it."""
        return self.duration_ms is not None

    @property
    def is_stream(self) -> bool:
        """Whether its response may last: server-sent events, or a websocket."""
        if self.response is None:
            return False
        is_events = self.response.value("content-type").lower().startswith("text/event-stream")
        return is_events or self.status == 101

    def as_json(self) -> dict[str, Any]:
        """One element of `requests`."""
        return {
            "id": str(self.id),
            "started_at": self.started_at,
            "duration_ms": self.duration_ms,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "request": self.request.as_json(),
            "response": None if self.response is None else self.response.as_json(),
            "websocket": [frame.as_json() for frame in tuple(self.websocket)],
            "client": self.client,
            "connection": self.connection,
        }


@dataclass(frozen=True, slots=True)
class HttpExchanges:
    """The exchanges of a forward, PROFILE/FORWARD, the oldest first. `not_inspected` counts the
    connections by the reason why they are not shown; `dropped` the exchanges that gave way to newer
    ones. `document` is all of it in JSON."""

    forward: str
    exchanges: tuple[HttpExchange, ...]
    not_inspected: Mapping[str, int]
    dropped: int
    document: Mapping[str, Any]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The document of `GET /v1/requests/PROFILE/FORWARD`. Raises as `from_json` below."""
        try:
            return cls(
                str(document["forward"]),
                tuple(map(from_json, document["requests"])),
                dict(document["not_inspected"]["reasons"]),
                int(document["dropped"]),
                document,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a document of tunnelctl: {error!r}") from None


def from_json(document: Mapping[str, Any]) -> HttpExchange:
    """The value that `as_json` wrote.

    Raises:
        ValueError: a daemon of another version left out something that this version needs.
    """
    try:
        response = document["response"]
        return HttpExchange(
            id=int(document["id"]),
            started_at=str(document["started_at"]),
            method=str(document["method"]),
            path=str(document["path"]),
            request=HttpMessage.from_json(document["request"]),
            client=str(document["client"]),
            connection=str(document["connection"]),
            status=document["status"],
            response=None if response is None else HttpMessage.from_json(response),
            duration_ms=document["duration_ms"],
            websocket=deque(map(Frame.from_json, document["websocket"]), maxlen=_FRAMES_KEPT),
        )
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error) as error:
        raise ValueError(f"not an exchange of tunnelctl: {error!r}") from None


def _text(body: bytes, *, is_part: bool) -> str | None:
    """The body as text; None if it is not UTF-8, or has NUL bytes. A part may end within a
    character, which is left out."""
    if b"\0" in body:
        return None
    for cut in range(4 if is_part else 1):
        try:
            return body[: len(body) - cut].decode()
        except UnicodeDecodeError as error:
            if error.start < len(body) - 4:
                return None
    return None
