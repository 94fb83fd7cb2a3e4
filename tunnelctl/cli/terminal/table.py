"""The table of `ps`: one row for each forward, made from the status document only.

Pure: the time is an argument. Must never show a forward as `up` if its host is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import click

from tunnelctl.cli.terminal.output import bytes_text, seconds_text
from tunnelctl.spec.endpoint import Endpoint, parse_endpoint
from tunnelctl.state.snapshot import (
    FAILED_FOR_GOOD,
    ForwardState,
    ForwardStatus,
    Health,
    HostState,
    HostStatus,
    ProfileStatus,
)

_HEADER = ("NAME", "TYPE", "LISTEN", "TARGET", "VIA", "STATUS", "CONNS", "IN/OUT", "AGE")
_NAME, _TYPE, _LISTEN, _TARGET, _VIA, _STATUS, _CONNS, _MOVED, _AGE = range(len(_HEADER))
_GAP = "  "
# For narrow terminals: the minimum width of columns, and which are shortened first.
_LEAST = {_NAME: 8, _TYPE: 5, _LISTEN: 8, _TARGET: 6, _VIA: 4, _STATUS: 12}
_GIVING = ((_LISTEN, _TARGET, _VIA, _NAME), (_TYPE, _STATUS))
_CUT_IN_FRONT = (_LISTEN, _TARGET)  # the port distinguishes them
_LEAVING = (_AGE, _TYPE, _MOVED, _CONNS, _VIA, _TARGET, _LISTEN)
_CUT = "…"
_COLOURS = {"up": "green", "failed": "red", "needs": "red", "stopped": "bright_black"}
_OTHER_COLOUR = "yellow"

# Bytes a second from the target and to it, by profile and forward.
Rates = Callable[[str, str], tuple[float, float]]


def table(
    profiles: Iterable[ProfileStatus],
    now: datetime,
    *,
    colour: bool,
    width: int | None = None,
    rates: Rates | None = None,
) -> list[str]:
    """The lines of the table, its header first, then failed rows, those not up, and the rest.

    With a `width` no line is longer: cells are cut with an ellipsis, and if necessary columns are
    left out. `rates` replace the totals.
    """
    rows: list[Sequence[str]] = [_HEADER]
    if rates is not None:
        rows = [(*_HEADER[:_MOVED], f"{_HEADER[_MOVED]}/s", *_HEADER[_MOVED + 1 :])]
    found: list[Sequence[str]] = []
    for profile in profiles:
        hosts = {host.name: host for host in profile.hosts}
        found += [
            _row(profile.name, forward, hosts[forward.via], now, rates)
            for forward in profile.forwards
        ] or [_empty_row(profile)]
    rows += sorted(found, key=lambda row: _ORDER.index(condition(row[_STATUS])))
    widths = {column: max(len(row[column]) for row in rows) for column in range(len(_HEADER))}
    if width is not None:
        _fit(widths, width)
    return [_line(row, widths, colour and row is not rows[0]) for row in rows]


class Condition(StrEnum):
    """The state of a row in the words of the summary."""

    FAILED = "failed"
    NOT_UP = "not up"
    IDLE = "idle"  # listens, and connects for its first client
    UP = "up"
    STOPPED = "stopped"


_ORDER = tuple(Condition)


def condition(status: str) -> Condition:
    """The state that a text of the column STATUS stands for."""
    word = _word(status)
    if word in ("failed", "needs"):
        return Condition.FAILED
    if word in ("stopped", "stopping"):
        return Condition.STOPPED
    if word == "idle":
        return Condition.IDLE
    return Condition.UP if word == "up" and "unhealthy" not in status else Condition.NOT_UP


def summary(profiles: Iterable[ProfileStatus], now: datetime) -> str:
    """The number of rows and their states: `312 forwards: 3 failed, 5 not up, 304 up`."""
    conditions = [condition(status) for status in _statuses(profiles, now)]
    counts = Counter(conditions)
    parts = [f"{counts[one]} {one}" for one in _ORDER if counts[one]]
    return f"{len(conditions)} forwards: {', '.join(parts)}"


def _statuses(profiles: Iterable[ProfileStatus], now: datetime) -> Iterator[str]:
    for profile in profiles:
        hosts = {host.name: host for host in profile.hosts}
        for forward in profile.forwards:
            yield status_text(forward, hosts[forward.via], now)
        if not profile.forwards:
            yield profile.state


def status_text(forward: ForwardStatus, host: HostStatus, now: datetime) -> str:
    """The state of a forward in a few words: `up (healthy)`, `retry in 7s (#4)`."""
    state, error = forward.state, forward.last_error
    if state is ForwardState.STOPPED or host.state in (HostState.STOPPING, HostState.STOPPED):
        return "stopped" if state is ForwardState.STOPPED else "stopping"
    if state is ForwardState.FAILED:
        return f"failed: {error.code}" if error else "failed"
    if host.state is HostState.BACKOFF:
        return f"retry in {_until(host.next_retry_at, now)} (#{host.attempts})"
    if host.state in FAILED_FOR_GOOD:
        cause = host.last_error
        return f"{host.state}: {cause.code}" if cause else host.state
    if host.queued:
        return f"{host.state} (queued)"
    if host.state is not HostState.UP:
        return host.state
    if state is ForwardState.UP and forward.health is not Health.UNKNOWN:
        return f"up ({forward.health})"
    return state


def listen_text(forward: ForwardStatus) -> str:
    """The listening address; for a remote forward the server's name and the port there."""
    listen = forward.listen
    if not forward.type.startswith("remote"):
        return listen
    return f"{forward.via}:{listen if '/' in listen else listen.rpartition(':')[2]}"


def listen_addresses(forward: ForwardStatus) -> tuple[Endpoint, ...]:
    """The addresses for clients; the first for clients that use only one (Endpoint.addresses).

    It is not known how a server resolves `localhost`, so that stays one.
    """
    listen = parse_endpoint(forward.listen)
    return (listen,) if forward.type.startswith("remote") else listen.addresses


def _row(
    profile: str, forward: ForwardStatus, host: HostStatus, now: datetime, rates: Rates | None
) -> tuple[str, ...]:
    moved = (forward.bytes_in, forward.bytes_out)
    if rates is not None:
        come, gone = rates(profile, forward.name)
        moved = (round(come), round(gone))
    since = forward.since
    return (
        f"{profile}/{forward.name}",
        forward.type,
        listen_text(forward),
        forward.target or "-",
        forward.via,
        status_text(forward, host, now),
        str(forward.connections_open),
        "/".join(map(bytes_text, moved)) if any(moved) else "-",
        seconds_text(_seconds(since, now)) if since else "-",
    )


def _empty_row(profile: ProfileStatus) -> tuple[str, ...]:
    """For a profile without forwards, such as one that could not be loaded."""
    error = profile.last_error
    state = f"{profile.state}: {error.code}" if error else str(profile.state)
    return tuple({0: profile.name, _STATUS: state}.get(at, "-") for at in range(len(_HEADER)))


def _fit(widths: dict[int, int], most: int) -> None:
    """Narrow columns, the widest first, and leave some out, until a line fits."""

    def too_much() -> int:
        return sum(widths.values()) + len(_GAP) * (len(widths) - 1) - most

    for columns in _GIVING:
        while too_much() > 0:
            widest = max(columns, key=lambda column: widths[column] - _LEAST[column])
            if widths[widest] <= _LEAST[widest]:
                break
            widths[widest] -= 1
    for column in _LEAVING:
        if too_much() <= 0:
            return
        del widths[column]


def _cut(cell: str, column: int, width: int) -> str:
    if len(cell) <= width:
        return cell.ljust(width)
    kept = width - len(_CUT)
    if column in _CUT_IN_FRONT:
        return _CUT + cell[-kept:]
    behind = kept // 2 if column == _NAME else 0  # names may differ at both ends
    return cell[: kept - behind] + _CUT + cell[len(cell) - behind :]


def _line(row: Sequence[str], widths: Mapping[int, int], colour: bool) -> str:
    cells = {column: _cut(row[column], column, width) for column, width in widths.items()}
    if colour:
        colour_of = _COLOURS.get(_word(row[_STATUS]), _OTHER_COLOUR)
        cells[_STATUS] = click.style(cells[_STATUS], fg=colour_of)
    return _GAP.join(cells.values()).rstrip()


def _word(status: str) -> str:
    return status.partition(" ")[0].partition(":")[0].partition("-")[0]


def _until(moment: str | None, now: datetime) -> str:
    return seconds_text(-_seconds(moment, now)) if moment else "0s"


def _seconds(moment: str, now: datetime) -> float:
    """Seconds since an RFC 3339 time; negative for one in the future."""
    return (now - datetime.fromisoformat(moment)).total_seconds()
