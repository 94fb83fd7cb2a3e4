"""`ps` (also `status`) and `port`: what the daemon says of its profiles."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from tunnelctl.cli.main import Options
from tunnelctl.cli.output import in_colour, say
from tunnelctl.cli.table import table
from tunnelctl.clock import wall
from tunnelctl.errors import Code, Failure


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Stopped profiles too.")
@click.option("--json", "as_json", is_flag=True, help="The status document instead of a table.")
@click.pass_obj
def ps(options: Options, everything: bool, as_json: bool) -> int:
    """Show every forward and how it is.

    The exit code is 0 when everything that is wanted is up, 1 when something is not, and 3 when
    no daemon runs.
    """
    document = options.client.status()
    wanted = [profile for profile in document["profiles"] if profile["wanted"] == "up"]
    if not everything:
        document["profiles"] = [p for p in document["profiles"] if p["state"] != "stopped"]
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        colour = in_colour(sys.stdout)
        for line in table(document["profiles"], wall(), colour=colour):
            click.echo(line, color=colour)
        _explain(wanted)
        for warning in document["daemon"].get("warnings", ()):
            say(warning)
    return 0 if all(profile["state"] == "up" for profile in wanted) else 1


@click.command()
@click.argument("name", metavar="PROFILE/FORWARD")
@click.pass_obj
def port(options: Options, name: str) -> None:
    """Print the address that a forward listens on, e.g. 127.0.0.1:5432."""
    profile_name, slash, forward_name = name.partition("/")
    if not slash:
        raise click.UsageError(f"{name} is not PROFILE/FORWARD")
    profiles = {profile["name"]: profile for profile in options.client.status()["profiles"]}
    if profile_name not in profiles:
        raise Failure(
            Code.PROFILE_NOT_FOUND,
            f"profile {profile_name} is not up",
            f"tunnelctl up {profile_name} -d",
        )
    forwards = {forward["name"]: forward for forward in profiles[profile_name]["forwards"]}
    if forward_name not in forwards:
        raise Failure(
            Code.PROFILE_NOT_FOUND,
            f"profile {profile_name} has no forward {forward_name}; it has {', '.join(forwards)}",
        )
    forward = forwards[forward_name]
    if forward["state"] != "up":
        error = forward["last_error"]
        why = f": {error['message']}" if error else ""
        raise Failure(Code.NOT_UP, f"{name} does not listen, it is {forward['state']}{why}")
    click.echo(forward["listen"])


def _explain(profiles: list[dict[str, Any]]) -> None:
    """Say below the table why something is not up, or not as its file says."""
    said = set()
    for profile in profiles:
        trouble = profile.get("last_error")
        if trouble:
            said.add(trouble["message"])
            say(f"{profile['name']}: {trouble['message']} ({trouble['hint']})")
        if profile["state"] == "up":
            continue
        for part in (*profile["hosts"], *profile["forwards"]):
            error = part["last_error"]
            if error and part["state"] != "up" and error["message"] not in said:
                said.add(error["message"])
                hint = f" ({error['hint']})" if error["hint"] else ""
                say(f"{profile['name']}/{part['name']}: {error['message']}{hint}")
