"""The details of a row, and the cause of a failure, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from tunnelctl.view.actions import replay
from tunnelctl.view.request_rows import RequestRow
from tunnelctl.view.rows import Broken, ConnectionRow, ForwardRow, HostRow
from tunnelctl.view.texts import NOTHING, Curve, curve_text, milliseconds_text

_LABEL = 14  # columns
_CURVE = 50
_NOW = "▏"  # the right end of a curve


def details(row: ForwardRow | HostRow | ConnectionRow, width: int) -> str:
    """Everything that is known about a row, and its commands, in lines of at most `width`."""
    if isinstance(row, ForwardRow):
        pairs = list(_of_forward(row))
    elif isinstance(row, HostRow):
        pairs = list(_of_host(row))
    else:
        pairs = list(_of_connection(row))
    if row.error:
        pairs.append(("error", row.error))
    pairs += [("command" if n == 0 else "", one.command) for n, one in enumerate(row.actions)]
    lines = [line for label, value in pairs for line in _wrapped(label, value, width)]
    return "\n".join([row.place, "", *lines])


def cause_lines(cause: Broken) -> tuple[str, str]:
    """The cause; then the time of the next attempt and the command that fixes it."""
    more = f" (and {len(cause.also)} more)" if cause.also else ""
    again = f"{cause.again}; " if cause.again else ""
    return f"{cause.place}{more}: {cause.why}", f"  {again}{cause.mend.command}"


def request_details(row: RequestRow, place: str) -> str:
    """The same of a request of the forward `place`; its texts are not wrapped."""
    return f"{row.details}\n\n{replay(place, row.id)}"


def _wrapped(label: str, value: str, width: int) -> Iterator[str]:
    for number, line in enumerate(wrap(value, max(1, width - _LABEL)) or [""]):
        yield f"{'' if number else label:{_LABEL}}{line}".rstrip()


def _of_forward(row: ForwardRow) -> Iterator[tuple[str, str]]:
    yield "state", f"{row.status}, for {row.age}"
    yield "listens on", row.listen
    yield "target", f"{row.target} ({row.type})"
    yield "via", row.via
    yield (
        "clients",
        f"{row.connections} now, {row.connections_total} in total, {row.connections_failed} failed",
    )
    yield "bytes", _bytes(row)
    yield "in", _traffic(row.curve_in)
    yield "out", _traffic(row.curve_out)
    if row.labels:
        yield "labels", ", ".join(f"{key}={value}" for key, value in row.labels)


def _of_host(row: HostRow) -> Iterator[tuple[str, str]]:
    yield "state", f"{row.status}, for {row.age}"
    yield "address", row.address or NOTHING
    yield "server", row.server or NOTHING
    yield "cipher", row.cipher or NOTHING
    yield "key exchange", row.kex or NOTHING
    yield "links", str(row.links)
    yield "reconnects", str(row.reconnects)
    if row.fallback:
        yield "fallback", f"{row.fallback} serves"
    times = [time for time in row.curve_rtt if time is not None]
    most = f", at most {milliseconds_text(max(times))}" if times else ""
    yield "round trip", row.round_trip + most
    if times:
        yield "", _up_to_now(row.curve_rtt)
    yield "in", _traffic(row.curve_in)
    yield "out", _traffic(row.curve_out)
    for number, line in enumerate(row.said):
        yield "it says" if number == 0 else "", line


def _of_connection(row: ConnectionRow) -> Iterator[tuple[str, str]]:
    yield "state", f"{row.status}, began {row.age} ago"
    yield "id", row.id
    yield "client", f"{row.client} {row.process}".strip()
    yield "target", row.target
    yield "via", row.host
    yield "bytes", _bytes(row)


def _bytes(row: ForwardRow | ConnectionRow) -> str:
    if row.moved == NOTHING:
        return "none"
    rates = "none" if row.rates == NOTHING else row.rates
    return f"{row.moved} in/out; a second: {rates}"


def _traffic(curve: Curve) -> str:
    """Ten minutes of bytes a second as a line of bars, up to now."""
    return _up_to_now(curve) if any(curve) else "none in the last ten minutes"


def _up_to_now(curve: Curve) -> str:
    return f"{curve_text(curve, _CURVE)}{_NOW}"
