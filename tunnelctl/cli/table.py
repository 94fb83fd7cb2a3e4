"""The table of `ps`: one row a forward, worked out from the status document alone.

Pure: the time is an argument. Must never say `up` of a forward whose host is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from tunnelctl.cli.output import bytes_text, seconds_text

_HEADER = ("NAME", "TYPE", "LISTEN", "TARGET", "VIA", "STATUS", "CONNS", "IN/OUT", "AGE")
_STATUS = _HEADER.index("STATUS")
_GAP = "  "
_COLOURS = {"up": "green", "failed": "red", "needs": "red", "stopped": "bright_black"}
_OTHER_COLOUR = "yellow"

Json = Mapping[str, Any]


def table(profiles: Iterable[Json], now: datetime, *, colour: bool) -> list[str]:
    """The lines of the table, its header first."""
    rows: list[Sequence[str]] = [_HEADER]
    for profile in profiles:
        hosts = {host["name"]: host for host in profile["hosts"]}
        rows += [
            _row(profile["name"], forward, hosts[forward["via"]], now)
            for forward in profile["forwards"]
        ] or [_empty_row(profile)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return [_line(row, widths, colour and row is not _HEADER) for row in rows]


def status_text(forward: Json, host: Json, now: datetime) -> str:
    """What a forward is doing, in a few words: `up (healthy)`, `retry in 7s (#4)`."""
    state, error = forward["state"], forward["last_error"]
    if state == "stopped" or host["state"] in {"stopping", "stopped"}:
        return "stopped" if state == "stopped" else "stopping"
    if state == "failed":
        return f"failed: {error['code']}" if error else "failed"
    if host["state"] == "backoff":
        return f"retry in {_until(host['next_retry_at'], now)} (#{host['attempts']})"
    if host["state"] in {"failed", "needs-input"}:
        cause = host["last_error"]
        return f"{host['state']}: {cause['code']}" if cause else str(host["state"])
    if host["state"] != "up":
        return str(host["state"])
    if state == "up" and forward["health"] != "unknown":
        return f"up ({forward['health']})"
    return str(state)


def listen_text(forward: Json) -> str:
    """The listening address; of a remote one the server's name and the port, as it is met there."""
    listen = str(forward["listen"])
    if not forward["type"].startswith("remote"):
        return listen
    return f"{forward['via']}:{listen if '/' in listen else listen.rpartition(':')[2]}"


def _row(profile: str, forward: Json, host: Json, now: datetime) -> tuple[str, ...]:
    moved = forward["bytes_in"] or forward["bytes_out"]
    since = forward.get("since")
    return (
        f"{profile}/{forward['name']}",
        forward["type"],
        listen_text(forward),
        forward["target"] or "-",
        forward["via"],
        status_text(forward, host, now),
        str(forward["connections"]["open"]),
        f"{bytes_text(forward['bytes_in'])}/{bytes_text(forward['bytes_out'])}" if moved else "-",
        seconds_text(_seconds(since, now)) if since else "-",
    )


def _empty_row(profile: Json) -> tuple[str, ...]:
    """For a profile without forwards, as one that could not be loaded."""
    error = profile.get("last_error")
    state = f"{profile['state']}: {error['code']}" if error else str(profile["state"])
    return tuple({0: profile["name"], _STATUS: state}.get(at, "-") for at in range(len(_HEADER)))


def _line(row: Sequence[str], widths: Sequence[int], colour: bool) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    if colour:
        word = row[_STATUS].partition(" ")[0].partition(":")[0].partition("-")[0]
        cells[_STATUS] = click.style(cells[_STATUS], fg=_COLOURS.get(word, _OTHER_COLOUR))
    return _GAP.join(cells).rstrip()


def _until(moment: str | None, now: datetime) -> str:
    return seconds_text(-_seconds(moment, now)) if moment else "0s"


def _seconds(moment: str, now: datetime) -> float:
    """Seconds since an RFC 3339 moment; negative for one that is still to come."""
    return (now - datetime.fromisoformat(moment)).total_seconds()
