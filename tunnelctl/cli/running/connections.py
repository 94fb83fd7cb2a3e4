"""`connections`: who is connected through which forward, and the end of one connection."""

from __future__ import annotations

import json
import sys

import click

from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.output import in_colour, say, shown_on, width_of
from tunnelctl.cli.terminal.table import lines
from tunnelctl.client import Client
from tunnelctl.clock import wall
from tunnelctl.spec.patterns import Pattern
from tunnelctl.state.documents.connection_status import ConnectionList, ConnectionStatus
from tunnelctl.view.columns import CONNECTIONS
from tunnelctl.view.connection_rows import connection_row


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
        if not number or places or everything or as_json:
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
    now, colour = wall(), in_colour(sys.stdout)
    rows = [connection_row(connection, now) for connection in listed]
    for line in lines(CONNECTIONS, rows, colour=colour, width=width_of(sys.stdout)):
        click.echo(shown_on(sys.stdout, line), color=colour)


def _selected(client: Client, places: tuple[str, ...]) -> ConnectionList:
    """The connections that `places` select by their forwards or hosts; a forward that was removed
    has some that ended.

    Raises:
        Failure: profile-not-found, a place means nothing.
    """
    if not places:
        return client.connections(processes=True)
    profiles = selection.forwards(client.status().profiles, places)
    only = profiles[0].name if len(profiles) == 1 else None
    found = client.connections(only, processes=True)
    patterns = [Pattern(place) for place in places]

    def is_meant(one: ConnectionStatus) -> bool:
        return any(pattern.takes(one.profile, one.forward, one.host) for pattern in patterns)

    return ConnectionList(
        tuple(filter(is_meant, found.connections)), tuple(filter(is_meant, found.ended))
    )
