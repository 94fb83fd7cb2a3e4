"""Profiles as files: `check`, `ls` and `paths`, and how every command reads a profile."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tunnelctl.cli import caller
from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.output import say
from tunnelctl.config.profile.find import (
    file_called,
    find_profile,
    left_out,
    list_profiles,
    none_found,
)
from tunnelctl.errors import Code, Failure
from tunnelctl.home.paths import Paths, current_folder
from tunnelctl.spec.barring import by_port
from tunnelctl.spec.patterns import has_wildcard

if TYPE_CHECKING:
    from tunnelctl.client import Client
    from tunnelctl.config.profile.load import Loaded


@click.command(epilog="Examples: tunnelctl check; tunnelctl check dev")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete.profiles)
@click.option("-f", "--file", type=click.Path(path_type=Path), help="Path of the profile.")
@click.pass_obj
def check(options: Options, profiles: tuple[str, ...], file: Path | None) -> None:
    """Validate profiles and report every mistake (default: all available profiles).

    Changes nothing and makes no connection.
    """
    file = file or options.file
    named = names_of(profiles, options.client)
    names: Sequence[str | None] = named or ([None] if file else _all_names())
    if not (profiles or file):
        _say_what_is_left_out()
    from tunnelctl.home.extras import lacking

    for path, loaded in load(names, file, options.client):
        click.echo(f"{path}: profile {loaded.profile.name} is valid")
        for what in lacking(loaded.profile):
            say(f"{path}: {what}")
        for rule in loaded.profile.forwards:
            target = by_port(rule.target) if rule.probe.unasked else None
            if target is not None:
                say(
                    f"{path}: forwards.{rule.name}: {rule.target} is not probed by default "
                    f"({target}); a probe that is written in the profile is sent"
                )


@click.command(epilog="Examples: tunnelctl ls; tunnelctl ls --json | jq -r '.profiles[].name'")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def ls(as_json: bool) -> None:
    """List the available profiles, with the path of each and the files it hides."""
    profiles = list_profiles(os.environ, current_folder())
    _say_what_is_left_out()
    if as_json:
        shown = [
            {
                "name": found.name,
                "file": str(found.path),
                "hidden_by": str(found.hidden_by) if found.hidden_by else None,
            }
            for found in profiles
        ]
        click.echo(json.dumps({"profiles": shown}, indent=2))
        return
    if not profiles:
        say(str(none_found(os.environ, current_folder())))
    for found in profiles:
        hidden = f"  (hidden by {found.hidden_by})" if found.hidden_by else ""
        click.echo(f"{found.name}  {found.path}{hidden}")


@click.command(epilog="Examples: tunnelctl paths; tunnelctl paths --json | jq -r .socket")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def paths(as_json: bool) -> None:
    """Print the paths of the control socket, the log and the profiles."""
    places = Paths.from_environ(os.environ)
    shown = {
        "socket": str(places.socket),
        "lock": str(places.lock),
        "log": str(places.log_file),
        "profiles": [str(place) for place in places.config_dirs],
    }
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for name, value in shown.items():
        for place in [value] if isinstance(value, str) else value:
            click.echo(f"{name + ':':<10}{place}")


def load(
    names: Sequence[str | None], file: Path | None, daemon: Client | None = None
) -> list[tuple[Path, Loaded]]:
    """Read profiles by name (None: named after `file`); with a `file` there is at most one.

    If `daemon` is given, a name without a file here means the daemon's profile of that name, which
    may come from another folder, from a command line (`up -L`, `expose`) or from `up -f`.

    Raises:
        Failure: PROFILE_NOT_FOUND, or every mistake of every file at once.
    """
    # Pydantic: only for commands that read profiles.
    from tunnelctl.config.profile.load import load_profiles

    return load_profiles(find(names, file, daemon), caller.environment())


def find(
    names: Sequence[str | None], file: Path | None, daemon: Client | None = None
) -> list[tuple[Path, str | None]]:
    """The file of each profile, and its name, as `load` reads them.

    Raises:
        Failure: PROFILE_NOT_FOUND.
    """
    if file is not None and len(names) > 1:
        raise click.UsageError("--file is the file of one profile")
    return [(_file_of(name or "", file, daemon), name) for name in names]


def names_of(words: Sequence[str], daemon: Client | None = None) -> list[str]:
    """The available profiles that match the words, here or in the `daemon`.

    Raises:
        Failure: PROFILE_NOT_FOUND, a wildcard means none.
    """
    if not any(map(has_wildcard, words)):
        return list(words)
    return selection.profiles(words, dict.fromkeys([*_found(), *_sources(daemon)]))


def _file_of(name: str, file: Path | None, daemon: Client | None) -> Path:
    """Raises Failure: PROFILE_NOT_FOUND."""
    others: dict[str, str] = {}
    if file is None and file_called(name, os.environ, current_folder()) is None:
        others = _sources(daemon)
    if name in others:
        return Path(others[name])
    return find_profile(name, file=file, environ=os.environ, cwd=current_folder(), others=others)


def _sources(daemon: Client | None) -> dict[str, str]:
    """The file of each profile in the daemon, by name; none if it does not run."""
    try:
        return {} if daemon is None else selection.sources(daemon.status().profiles)
    except Failure as failure:
        if failure.code is not Code.DAEMON_NOT_RUNNING:
            raise
        return {}


def _found() -> list[str]:
    return [
        found.name for found in list_profiles(os.environ, current_folder()) if not found.hidden_by
    ]


def _all_names() -> list[str]:
    names = _found()
    if not names:
        _say_what_is_left_out()
        raise none_found(os.environ, current_folder())
    return names


def _say_what_is_left_out() -> None:
    for path, why in left_out(os.environ, current_folder()):
        say(f"{path}: {why}")
