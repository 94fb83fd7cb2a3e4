"""`fleet`: which machine runs what, and `fleet hand-over`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, table
from tunnelctl.cli.terminal.output import say
from tunnelctl.view import fleet_tables


@click.group(
    invoke_without_command=True,
    epilog="Examples: tunnelctl fleet; tunnelctl fleet status --json; "
    "tunnelctl fleet hand-over web",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def fleet(ctx: click.Context, as_json: bool) -> int:
    """Show which machine of the fleet runs which profile; also `fleet status`.

    The daemon of this machine must be in the fleet (tunnelctl daemon --fleet). The exit code is 0
    if every profile has a holder and the store answers, else 1.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    return _show(ctx.find_object(Options) or Options(), as_json=as_json)


@fleet.command(epilog="Examples: tunnelctl fleet status; tunnelctl fleet status --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def status(options: Options, as_json: bool) -> int:
    """Show machines, profiles and the store."""
    return _show(options, as_json=as_json)


@fleet.command("hand-over", epilog="Example: tunnelctl fleet hand-over web")
@click.argument("profile", shell_complete=complete.profiles)
@click.pass_obj
def hand_over(options: Options, profile: str) -> None:
    """Have another machine run a profile, within a second. Run it on the machine that holds it.

    Connections through the profile are reset. The profile stays on the new machine: there is no
    fail-back.
    """
    holder = options.client.hand_over(profile)
    say(f"{profile} is held by {holder} now")


def _show(options: Options, *, as_json: bool) -> int:
    document = options.client.fleet()
    found = document["fleet"]
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        for line in _lines(found):
            click.echo(line)
        if found["store"]["error"]:
            error = found["store"]["error"]
            say(f"{error['message']} ({error['hint']})" if error["hint"] else error["message"])
    is_held = all(profile["holder"] for profile in found["profiles"])
    return 0 if is_held and found["store"]["state"] == "ok" else 1


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """Three tables."""
    yield from table.plain(fleet_tables.PROFILES, found["profiles"])
    yield ""
    yield from table.plain(fleet_tables.MACHINES, found["machines"])
    yield ""
    yield from table.plain(fleet_tables.MEMBERS, found["store"]["members"])
