"""`doctor`: the table of its steps.

Owns only the table; the checks and their meaning are in doctor/.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunnelctl.cli import caller, sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.profiles.profile_files import load, names_of
from tunnelctl.cli.terminal import complete
from tunnelctl.cli.terminal.output import in_colour, say
from tunnelctl.config.yaml.mistakes import ProfileInvalid
from tunnelctl.doctor.report import Part, Report, Result, Step, failed
from tunnelctl.errors import Code, Failure, printable
from tunnelctl.state.documents.snapshot import Status
from tunnelctl.view.columns import GAP
from tunnelctl.view.texts import took_text

if TYPE_CHECKING:
    from tunnelctl.client import Client

_WORDS = {
    Result.OK: "ok",
    Result.WARNING: "warning",
    Result.FAILED: "FAILED",
    Result.SKIPPED: "skipped",
}
_SIGNS = {Result.OK: "✓", Result.WARNING: "!", Result.FAILED: "✗", Result.SKIPPED: "-"}
_COLOURS = {
    Result.OK: "green",
    Result.WARNING: "yellow",
    Result.FAILED: "red",
    Result.SKIPPED: "bright_black",
}
_WORTH_SAYING = 1.0  # seconds


@click.command(epilog="Examples: tunnelctl doctor dev; tunnelctl doctor --json | jq .steps")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete.profiles)
@click.option("-f", "--file", type=click.Path(path_type=Path), help="Path of the profile.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per profile.")
@click.pass_obj
def doctor(options: Options, profiles: tuple[str, ...], file: Path | None, as_json: bool) -> int:
    """Diagnose the path to every target, hop by hop, and suggest fixes (default: `default`).

    Checks the profile, names, hosts, keys, logins, the server's permissions and the targets. A
    name without a file here is looked up in the daemon, as those of `up -L` and `expose`. Changes
    nothing. The exit code is that of the first step that failed.
    """
    file = file or options.file
    named = names_of(profiles, options.client)
    names: Sequence[str | None] = named or ([None] if file else ["default"])
    status = _status(options.client)
    exit_code = 0
    for name in dict.fromkeys(names):
        report = _report(options.client, name, file, status)
        exit_code = exit_code or report.exit_code
        if as_json:
            click.echo(json.dumps(report.as_json(), indent=2))
            continue
        colour = in_colour(sys.stdout)
        signs = _SIGNS if colour and _shows_signs() else _WORDS
        for line in table(report, signs, colour=colour):
            click.echo(line, color=colour)
    return exit_code


def table(report: Report, signs: dict[Result, str], *, colour: bool) -> Iterator[str]:
    """One line per step, its hints below it; steps skipped for one reason share a line."""
    rows = list(_rows(report.steps))
    widths = [max(len(row[column]) for _, row in rows) for column in (0, 1)]
    width = max(len(signs[step.result]) for step, _ in rows)
    indent = " " * (width + sum(widths) + 3 * len(GAP))
    for step, (where, what, message) in rows:
        sign = signs[step.result].ljust(width)
        if colour:
            sign = click.style(sign, fg=_COLOURS[step.result])
        cells = (sign, where.ljust(widths[0]), what.ljust(widths[1]), printable(message))
        yield GAP.join(cells).rstrip()
        for hint in step.hints:
            yield f"{indent}→ {hint}" if signs is _SIGNS else f"{indent}- {hint}"


def _rows(steps: Sequence[Step]) -> Iterator[tuple[Step, tuple[str, str, str]]]:
    """Each step with its subject, its name and its message."""

    def alike(step: Step) -> tuple[Any, ...]:
        is_skipped = step.result is Result.SKIPPED
        return (step.subject, step.message) if is_skipped else (id(step),)

    for _, group in groupby(steps, alike):
        step, *others = group
        if not others:
            took = f" ({took_text(step.seconds * 1000)})" if step.seconds >= _WORTH_SAYING else ""
            yield step, (step.subject, step.step, f"{step.message}{took}")
        else:
            rest = ", ".join(other.step for other in others)
            yield step, (step.subject, step.step, f"{step.message}; so too {rest}")


def _report(client: Client, name: str | None, file: Path | None, status: Status | None) -> Report:
    """The findings for a profile; for one that cannot be read, every mistake."""
    shown = name or str(file)
    try:
        ((_, loaded),) = load((name,), file, client)
    except ProfileInvalid as invalid:
        mistakes = [sentences.profile_mistake(str(mistake)) for mistake in invalid.mistakes]
        return Report(shown, tuple(failed(Part.PROFILE, shown, mistake) for mistake in mistakes))
    except Failure as failure:
        return Report(shown, (failed(Part.PROFILE, shown, failure),))
    from tunnelctl.doctor.walk import examine  # heavy: paramiko

    return examine(loaded.profile, caller.environment(), status, lambda why: say(str(why)))


def _status(client: Client) -> Status | None:
    """The status document; None without a daemon that answers."""
    try:
        return client.status()
    except Failure as failure:
        if failure.code is not Code.DAEMON_NOT_RUNNING:
            raise
        return None


def _shows_signs() -> bool:
    try:
        "".join(_SIGNS.values()).encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
