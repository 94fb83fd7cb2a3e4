"""`ps` (also `status`) and `port`: the daemon's status of its profiles."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import click

from tunnelctl.cli import sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.output import in_colour, say, shown_on, width_of
from tunnelctl.cli.terminal.table import lines
from tunnelctl.client.http import ANSWER_WITHIN, LOOK_WITHIN
from tunnelctl.clock import wall
from tunnelctl.state.documents.snapshot import ForwardState, ProfileState, Status, Wanted
from tunnelctl.state.profile.readiness import is_ready
from tunnelctl.view import columns, model, trouble
from tunnelctl.view.texts import listen_addresses

_MANY = 20  # rows of a table from which it is summarized
_EXPLAINED = 10  # reasons that are printed


@click.command(
    epilog="Examples: tunnelctl ps; tunnelctl ps -w 'dev*'; tunnelctl ps --label team=web --json"
)
@click.argument(
    "places", nargs=-1, metavar="[PROFILE | PROFILE/FORWARD]...", shell_complete=complete.places
)
@click.option("-a", "--all", "everything", is_flag=True, help="Include stopped profiles.")
@click.option(
    "-l",
    "--label",
    "labels",
    multiple=True,
    metavar="KEY[=VALUE]",
    help="Only forwards with this label.",
)
@click.option("-w", "--watch", "live", is_flag=True, help="Update the table until interrupted.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the status document instead of a table."
)
@click.pass_obj
def ps(
    options: Options,
    places: tuple[str, ...],
    everything: bool,
    labels: tuple[str, ...],
    live: bool,
    as_json: bool,
) -> int:
    """Show the status of every forward, or of those named; wildcards are accepted.

    Failed entries come first, then those that are not up.

    The exit code is 0 when everything wanted is up, 1 when something is not, and 3 when no daemon
    runs. With --watch the table shows bytes per second instead of bytes.
    """
    client = options.client
    within = LOOK_WITHIN if live and not as_json else ANSWER_WITHIN

    def look() -> tuple[Status, list[str]]:
        document = client.status(within=within)
        profiles = selection.labelled(selection.forwards(document.profiles, places), labels)
        explanations = [cause.line for cause in trouble.broken(profiles, wall())]
        if len(explanations) > _EXPLAINED:  # failed ones come first, so they are not left out
            left = len(explanations) - _EXPLAINED
            more = f"{left} more like these; tunnelctl ps PROFILE tells those of a profile"
            explanations[_EXPLAINED:] = [more]
        remarks = [*explanations, *document.daemon.warnings]
        if not (everything or places):
            profiles = [
                profile for profile in profiles if profile.state is not ProfileState.STOPPED
            ]
        return replace(document, profiles=tuple(profiles)), remarks

    if live:
        from tunnelctl.cli.running.watch import watch  # ps alone is faster without it

        watch(client, look, as_text=(lambda now: json.dumps(now.as_json())) if as_json else None)
    document, remarks = look()
    if as_json:
        click.echo(json.dumps(document.as_json(), indent=2))
    else:
        colour = in_colour(sys.stdout)
        rows = model.build(document, None, None, wall()).forwards
        table = columns.forwards(with_rates=False)
        for line in lines(table, rows, colour=colour, width=width_of(sys.stdout)):
            click.echo(shown_on(sys.stdout, line), color=colour)
        if len(rows) >= _MANY:
            say(model.summary(rows))
        for remark in remarks:
            say(remark)
    wanted = [profile for profile in document.profiles if profile.wanted is Wanted.UP]
    return 0 if all(map(is_ready, wanted)) else 1


@click.command(epilog="Example: tunnelctl port dev/db")
@click.argument("name", metavar="PROFILE/FORWARD", shell_complete=complete.forwards)
@click.pass_obj
def port(options: Options, name: str) -> None:
    """Print the address that a forward listens on, such as 127.0.0.1:5432."""
    profile_name, slash, forward_name = name.partition("/")
    if not slash:
        raise click.UsageError(f"{name!r} is not PROFILE/FORWARD")
    profiles = {profile.name: profile for profile in options.client.status().profiles}
    if profile_name not in profiles:
        raise selection.not_up(profile_name, profiles)
    selection.demand_ours(selection.sources(profiles.values()), [profile_name])
    forwards = {forward.name: forward for forward in profiles[profile_name].forwards}
    if forward_name not in forwards:
        raise sentences.no_such_forward(profile_name, forward_name, list(forwards))
    forward = forwards[forward_name]
    if forward.state is not ForwardState.UP:
        why = forward.last_error.message if forward.last_error else ""
        raise sentences.forward_not_listening(name, forward.state, why)
    click.echo(str(listen_addresses(forward)[0]))
