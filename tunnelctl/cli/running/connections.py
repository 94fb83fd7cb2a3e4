"""`connections`: who is connected through which forward, and the end of one connection."""

from __future__ import annotations

import json
import sys
from datetime import datetime

import click

from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.columns import Column, lines
from tunnelctl.cli.terminal.output import bytes_text, say, seconds_text, shown_on, width_of
from tunnelctl.client import Client
from tunnelctl.clock import wall
from tunnelctl.errors import printable
from tunnelctl.state.connections import ConnectionEnd, ConnectionList, ConnectionStatus

_COLUMNS = (
    Column("ID"),
    Column("FORWARD", least=8),
    Column("CLIENT", least=8, leaves=5, keeps_end=True),
    Column("PROCESS", least=8, leaves=4),
    Column("TARGET", least=8, leaves=6, keeps_end=True),
    Column("STATE", least=6),
    Column("IN/OUT", leaves=3),
    Column("RATE", leaves=2),
    Column("AGE", leaves=1),
)


@click.command(
    epilog="Examples: tunnelctl connections; tunnelctl connections dev/db --all; "
    "tunnelctl connections --close 17"
)
@click.argument(
    "places", nargs=-1, metavar="[PROFILE | PROFILE/FORWARD]...", shell_complete=complete.places
)
@click.option("-a", "--all", "everything", is_flag=True, help="Include the last that ended.")
@click.option("--close", "number", metavar="ID", help="Reset this connection.")
@click.option("--json", "as_json", is_flag=True, help="Print the document instead of a table.")
@click.pass_obj
def connections(
    options: Options,
    places: tuple[str, ...],
    everything: bool,
    number: str | None,
    as_json: bool,
) -> None:
    """Show the connections of every forward, or of those named; wildcards are accepted.

    Each has its client, with the process if that is on this machine, its target, state, bytes and
    bytes per second from the target and to it, and age. Rates are of the last half a second or
    more. With --json the document also has the last 100 connections that ended, and how.

    With --close a connection is reset: its client sees an error, not an end of data.
    """
    if number is not None:
        if places or everything or as_json:
            raise click.UsageError("--close takes an ID and nothing else")
        options.client.close_connection(number)
        say(f"connection {number} was reset")
        return
    found = _selected(options.client, places)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
        return
    listed = [*found.connections, *(found.ended if everything else ())]
    if not listed:
        say("no connection is open")
        return
    now = wall()
    rows = [_row(connection, now) for connection in listed]
    for line in lines(_COLUMNS, rows, width_of(sys.stdout)):
        click.echo(shown_on(sys.stdout, line))


def _selected(client: Client, places: tuple[str, ...]) -> ConnectionList:
    """The connections of the forwards that `places` select.

    Raises:
        Failure: profile-not-found, a place means nothing.
    """
    if not places:
        return client.connections(processes=True)
    profiles = selection.forwards(client.status().profiles, places)
    meant = {(profile.name, forward.name) for profile in profiles for forward in profile.forwards}
    only = profiles[0].name if len(profiles) == 1 else None
    found = client.connections(only, processes=True)
    return ConnectionList(
        tuple(one for one in found.connections if (one.profile, one.forward) in meant),
        tuple(one for one in found.ended if (one.profile, one.forward) in meant),
    )


def _row(connection: ConnectionStatus, now: datetime) -> tuple[str, ...]:
    since = datetime.fromisoformat(connection.since)
    until = now if connection.until is None else datetime.fromisoformat(connection.until)
    return (
        connection.id,
        f"{connection.profile}/{connection.forward}",
        printable(connection.client),
        _process_text(connection),
        connection.target or "-",
        _state_text(connection),
        _pair(connection.bytes_in, connection.bytes_out),
        _pair(round(connection.rate_in), round(connection.rate_out)),
        seconds_text((until - since).total_seconds()),
    )


def _process_text(connection: ConnectionStatus) -> str:
    process = connection.process
    if process is None:
        return "-"
    if process.pid is None:
        return f"? ({process.user})"
    return f"{printable(process.name)}[{process.pid}] ({process.user})"


def _state_text(connection: ConnectionStatus) -> str:
    """`open`, `refused: target-refused`, `reset by client`."""
    if connection.how is None:
        return str(connection.state)
    if connection.how is ConnectionEnd.REFUSED and connection.error is not None:
        return f"{connection.how}: {connection.error.code}"
    by = f" by {connection.reset_by}" if connection.reset_by else ""
    return f"{connection.how}{by}"


def _pair(come: int, gone: int) -> str:
    return f"{bytes_text(come)}/{bytes_text(gone)}" if come or gone else "-"
