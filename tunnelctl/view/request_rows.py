"""The rows of an inspected forward's HTTP requests.

Pure. Texts of both peers are printable.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tunnelctl.errors import printable
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.exchange import HttpExchange, HttpMessage
from tunnelctl.view.columns import Column, Table
from tunnelctl.view.condition import Condition
from tunnelctl.view.texts import NOTHING, bytes_text, took_text

_MOST_LINES = 500  # of a body


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request and its response; `time` is in local time. `status` is empty and `duration` is
    `open` while it lasts."""

    id: int
    time: str
    method: str
    status: str
    condition: Condition
    duration: str
    size: str
    path: str
    exchange: HttpExchange

    @property
    def words(self) -> str:
        """The text that a filter searches."""
        return f"{self.id} {self.method} {self.status} {self.path}"

    @property
    def details(self) -> str:
        """Headers and bodies, as far as they are kept."""
        exchange = self.exchange
        version = printable(exchange.request.version)
        lines = [f"{self.method} {self.path} {version}", *_message_lines(exchange.request)]
        if exchange.response is not None:
            lines += ["", f"{printable(exchange.response.version)} {self.status}"]
            lines += _message_lines(exchange.response)
        for frame in tuple(exchange.websocket):
            lines.append(f"{frame.sender}: {frame.kind}, {frame.size} bytes")
        return "\n".join(lines)


def request_row(exchange: HttpExchange) -> RequestRow:
    """The row of an exchange as it is now."""
    moment = datetime.fromisoformat(exchange.started_at).astimezone()
    return RequestRow(
        id=exchange.id,
        time=moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03}",
        method=printable(exchange.method),
        status="" if exchange.status is None else str(exchange.status),
        condition=_condition(exchange),
        duration=_duration_text(exchange),
        size=_size_text(exchange),
        path=printable(exchange.path),
        exchange=exchange,
    )


def _duration_text(exchange: HttpExchange) -> str:
    """The time that it took: `1.5ms`, `12ms`, `1.5s`; `open` while it lasts."""
    return "open" if exchange.duration_ms is None else took_text(exchange.duration_ms)


def _size_text(exchange: HttpExchange) -> str:
    """The size of the response's body, or of the frames of a websocket."""
    if exchange.websocket:
        return bytes_text(sum(frame.size for frame in tuple(exchange.websocket)))
    return NOTHING if exchange.response is None else bytes_text(exchange.response.size)


def _condition(exchange: HttpExchange) -> Condition:
    if exchange.status is None:
        return Condition.NOT_UP
    return {4: Condition.NOT_UP, 5: Condition.FAILED}.get(exchange.status // 100, Condition.UP)


def _message_lines(message: HttpMessage) -> Iterator[str]:
    for name, value in message.headers:
        yield f"{printable(name)}: {printable(value)}"
    if not message.size:
        return
    body = message.as_json()["body"]
    yield ""
    if body is None:
        yield f"({bytes_text(message.size)} bytes that are not text)"
        return
    yield from map(printable, str(body).splitlines()[:_MOST_LINES])
    if message.truncated:
        yield f"… ({bytes_text(message.size)} bytes in all)"


REQUESTS: Table[RequestRow] = Table(
    (
        Column("ID", lambda row: str(row.id)),
        Column("TIME", lambda row: row.time),
        Column("METHOD", lambda row: row.method, 6),
        Column("STATUS", lambda row: row.status or NOTHING),
        Column("DURATION", lambda row: row.duration),
        Column("SIZE", lambda row: row.size),
        Column("PATH", lambda row: row.path, 8),
    ),
    giving=(("PATH",), ("METHOD",)),
    leaving=("SIZE", "TIME", "ID"),
)
