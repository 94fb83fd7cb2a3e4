"""`fleet`: which machine runs what, and `fleet hand-over`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete
from tunnelctl.cli.terminal.output import say

_GAP = "  "


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
    yield from _table(
        ("PROFILE", "HOLDER", "TOKEN", "SINCE", "NEXT"),
        (
            (
                profile["name"],
                profile["holder"] or "-",
                str(profile["token"] or "-"),
                profile["since"] or "-",
                _next(profile),
            )
            for profile in found["profiles"]
        ),
    )
    yield ""
    yield from _table(
        ("MACHINE", "VERSION", "ADDRESS", "STORE", "HOLDS", "DIFFERS"),
        (
            (
                machine["name"],
                machine["version"] or "-",
                machine["address"] or "-",
                _milliseconds(machine["round_trip_ms"]),
                ", ".join(machine["profiles"]) or "-",
                ", ".join(machine["differs"]) or "-",
            )
            for machine in found["machines"]
        ),
    )
    yield ""
    yield from _table(
        ("ETCD", "MEMBER", "VERSION", "STATUS"),
        (
            (member["endpoint"], member["name"] or "-", member["version"] or "-", _member(member))
            for member in found["store"]["members"]
        ),
    )


def _next(profile: dict[str, Any]) -> str:
    """The machine that would take it."""
    others = [name for name in profile["candidates"] if name != profile["holder"]]
    return others[0] if others else "-"


def _member(member: dict[str, Any]) -> str:
    if member["error"]:
        return str(member["error"])
    return "leader" if member["leader"] else "follower"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
