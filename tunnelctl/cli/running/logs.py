"""`logs`: print the daemon's log."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from tunnelctl.cli import sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.duration import Duration
from tunnelctl.client import Client
from tunnelctl.clock import rfc3339, wall
from tunnelctl.config.profile.find import list_profiles
from tunnelctl.errors import Code, Failure
from tunnelctl.home.paths import current_folder
from tunnelctl.spec.patterns import Pattern


@click.command(epilog="Examples: tunnelctl logs dev -f; tunnelctl logs --since 10m --json")
@click.argument("places", nargs=-1, metavar="[PROFILE[/NAME]]...", shell_complete=complete.places)
@click.option("-f", "--follow", is_flag=True, help="Print new lines until interrupted.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 5000),
    default=100,
    show_default=True,
    help="Number of lines.",
)
@click.option("--since", type=Duration(), help="Only lines newer than this, e.g. 10m.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.pass_obj
def logs(
    options: Options,
    places: tuple[str, ...],
    follow: bool,
    lines: int,
    since: float | None,
    as_json: bool,
) -> None:
    """Print the last lines of the daemon's log, all or about profiles, forwards and hosts.

    Older lines, and those of earlier daemons, are in the log file; `tunnelctl paths` prints its
    path.
    """
    client = options.client
    moment = None if since is None else rfc3339(wall() - timedelta(seconds=since))
    try:
        _check(client, places, come_later=follow)
        if not follow:
            for line in client.logs(places, lines, moment)["lines"]:
                click.echo(_text(line, as_json))
            return
        with client.follow_logs(places, lines, moment) as stream:
            while True:
                line = stream.next()
                if line is not None:
                    click.echo(_text(line, as_json))
    except Failure as failure:
        if failure.code is not Code.DAEMON_NOT_RUNNING:
            raise
        raise sentences.no_daemon_with_log(failure, client.paths.log_file) from None


def _check(client: Client, places: Sequence[str], *, come_later: bool) -> None:
    """Check that every word names something the daemon has or has log lines about. With
    `come_later` it may be a profile that is not up yet.

    Raises:
        Failure: PROFILE_NOT_FOUND.
    """
    for place in places:
        if client.logs([place], 1, None)["lines"]:
            continue
        document = client.status().profiles
        files = {found.name for found in list_profiles(os.environ, current_folder())}
        later = files - {profile.name for profile in document}
        if not (come_later and Pattern(place).profile in later):
            selection.forwards(document, [place])


def _text(line: Mapping[str, Any], as_json: bool) -> str:
    """A line for a terminal, in local time; the message already names profile and host."""
    if as_json:
        return json.dumps(line)
    moment = datetime.fromisoformat(line["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{moment}  {line['level']:<7}  {line['message']}"
