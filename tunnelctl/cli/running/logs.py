"""`logs`: what the daemon has written down."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.duration import Duration
from tunnelctl.client import Client
from tunnelctl.clock import rfc3339, wall
from tunnelctl.config.profile.find import list_profiles
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.patterns import Pattern


@click.command(epilog="Examples: tunnelctl logs dev -f; tunnelctl logs --since 10m --json")
@click.argument("places", nargs=-1, metavar="[PROFILE[/NAME]]...", shell_complete=complete.places)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, 5000), default=100, show_default=True, help="How many."
)
@click.option("--since", type=Duration(), help="Nothing older than this, e.g. 10m.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def logs(
    options: Options,
    places: tuple[str, ...],
    follow: bool,
    lines: int,
    since: float | None,
    as_json: bool,
) -> None:
    """Print the daemon's log: the last lines, of profiles, forwards and hosts or of everything.

    Older lines and those of earlier daemons are in the file that `tunnelctl paths` names.
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
        where = f"its last log is {client.paths.log_file}"
        raise Failure(failure.code, failure.message, where) from None


def _check(client: Client, places: Sequence[str], *, come_later: bool) -> None:
    """That every word means something: what lines are there of, though it has gone by now, or what
    the daemon has. With `come_later` it can be a profile that is not up yet.

    Raises:
        Failure: PROFILE_NOT_FOUND.
    """
    for place in places:
        if client.logs([place], 1, None)["lines"]:
            continue
        document = client.status()["profiles"]
        files = {found.name for found in list_profiles(os.environ, Path.cwd())}
        later = files - {profile["name"] for profile in document}
        if not (come_later and Pattern(place).profile in later):
            selection.forwards(document, [place])


def _text(line: Mapping[str, Any], as_json: bool) -> str:
    """A line for people, in local time; its message names the profile and the host already."""
    if as_json:
        return json.dumps(line)
    moment = datetime.fromisoformat(line["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{moment}  {line['level']:<7}  {line['message']}"
