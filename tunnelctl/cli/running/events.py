"""`events`: prints events as they happen."""

from __future__ import annotations

import json

import click

from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal.progress import event_text


@click.command(epilog="Examples: tunnelctl events; tunnelctl events --json | jq .state")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.pass_obj
def events(options: Options, as_json: bool) -> None:
    """Print events of profiles, hosts and forwards until interrupted."""
    with options.client.events() as stream:
        while True:
            event = stream.next()
            if event is not None:
                click.echo(json.dumps(event.as_json()) if as_json else event_text(event))
