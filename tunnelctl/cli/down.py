"""`down` and `restart`: orders to profiles that the daemon has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tunnelctl.cli import caller, complete, selection
from tunnelctl.cli.durations import Duration
from tunnelctl.cli.main import Options
from tunnelctl.cli.output import say
from tunnelctl.client import Client
from tunnelctl.config.find import find_profile, list_profiles
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.patterns import has_wildcard

Json = dict[str, Any]


@click.command(
    epilog="Examples: tunnelctl down dev; tunnelctl down 'dev*' -t 1m; tunnelctl down --all"
)
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete.running)
@click.option("--all", "everything", is_flag=True, help="Every profile.")
@click.option(
    "-t",
    "--timeout",
    type=Duration(),
    default="10s",
    show_default=True,
    help="How long open connections have to end.",
)
@click.pass_obj
def down(options: Options, profiles: tuple[str, ...], everything: bool, timeout: float) -> None:
    """Close what profiles opened (`default` when none is named), after its connections ended.

    A daemon that a command started ends by itself once nothing is wanted up.
    """
    if everything and profiles:
        raise click.UsageError("name profiles or give --all, not both")
    try:
        wanted = [profile["name"] for profile in _wanted(options.client)]
    except Failure as failure:
        if failure.code is not Code.DAEMON_NOT_RUNNING:
            raise
        say("no daemon runs, so nothing is up")
        return
    names = wanted if everything else _named(profiles, wanted)
    if everything and not names:
        say("nothing is up")
    orders = [(name, options.client.begin_down(name, timeout)) for name in names]
    for name, order in orders:
        order.answer()
        say(f"{name} is down")


@click.command(epilog="Examples: tunnelctl restart dev; tunnelctl restart dev/bastion")
@click.argument("places", nargs=-1, metavar="[PROFILE[/HOST]]...", shell_complete=complete.tunnels)
@click.pass_obj
def restart(options: Options, places: tuple[str, ...]) -> None:
    """Connect the hosts of profiles anew, now; of all that are wanted up when none is named.

    Local ports stay bound, clients that come meanwhile wait. Wildcards are taken.
    """
    wanted = _wanted(options.client)
    names = [profile["name"] for profile in wanted]
    for name, hosts in selection.hosts(wanted, places or names).items():
        options.client.restart(name, caller.to_send(), hosts)
        say(f"{name}: connecting {', '.join(hosts) or 'every host'} anew")
    if not (places or names):
        say("nothing is up, so there is nothing to connect anew")


def _wanted(client: Client) -> list[Json]:
    profiles = client.status()["profiles"]
    # One that is stopping can be told to hurry.
    return [p for p in profiles if p["wanted"] == "up" or p["state"] == "stopping"]


def _named(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """What to take down; a profile that exists and is not up needs nothing."""
    chosen: list[str] = []
    for name in dict.fromkeys(names or ["default"]):
        if has_wildcard(name):
            files = [found.name for found in list_profiles(os.environ, Path.cwd())]
            meant = selection.profiles([name], dict.fromkeys([*wanted, *files]))
            running = [one for one in meant if one in wanted]
            if not running:
                say(f"no profile that matches {name} is up")
            chosen += running
        elif name in wanted:
            chosen.append(name)
        elif names:
            find_profile(name, environ=os.environ, cwd=Path.cwd(), others=wanted)
            say(f"profile {name} is not up")
        else:
            up = f"; up now: {', '.join(wanted)}" if wanted else ""
            raise click.UsageError(f"name a profile, or give --all{up}")
    return list(dict.fromkeys(chosen))
