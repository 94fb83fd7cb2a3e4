"""`reload`: applies changed files to running profiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from tunnelctl.cli import caller
from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.output import say
from tunnelctl.errors import Code, Failure
from tunnelctl.state.documents.snapshot import ProfileState, Wanted


@click.command(epilog="Examples: tunnelctl reload --dry-run; tunnelctl reload dev")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete.running)
@click.option("--dry-run", is_flag=True, help="Print what would change, without changing anything.")
@click.pass_obj
def reload(options: Options, profiles: tuple[str, ...], dry_run: bool) -> None:
    """Reread profiles and apply the differences (default: all profiles that are wanted up).

    Every file is validated first: if one is invalid, nothing changes. Unchanged hosts and forwards
    keep their open connections.
    """
    client = options.client
    if profiles:
        known = client.status().profiles
        wanted = [profile.name for profile in known if profile.wanted is Wanted.UP]
        profiles = tuple(selection.profiles(profiles, wanted))
        for name in profiles:
            if name not in wanted:
                raise selection.not_up(name, wanted, [profile.name for profile in known])
        selection.demand_ours(selection.sources(known), profiles)
    try:
        done = client.reload(profiles, caller.to_send(), dry_run=dry_run)["profiles"]
    except Failure as failure:
        if failure.code is Code.CONFIG_INVALID:
            say("nothing was changed: at least one file is invalid")
        raise
    for line in (line for profile in done for line in _lines(profile)):
        click.echo(line)
    if not done:
        profiles_here = client.status().profiles
        standby = [one.name for one in profiles_here if one.state is ProfileState.STANDBY]
        names = ", ".join(standby)
        say(f"on standby, read again: {names}" if names else "no profile is up: nothing to reload")


def _lines(profile: dict[str, Any]) -> Iterator[str]:
    """One line for each host or forward that changes, e.g. `dev: forward db replaced`."""
    name = profile["name"]
    if profile["starts"]:
        yield f"{name}: started"
    for change in profile["changes"]:
        yield f"{name}: {change['kind']} {change['name']} {change['action']}"
    if not (profile["starts"] or profile["changes"]):
        yield f"{name}: unchanged"
