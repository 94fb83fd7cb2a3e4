"""`init`, `config` and `schema`: writing profiles, and seeing what they come to."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from tunnelctl.cli import sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.profiles.profile_files import load
from tunnelctl.cli.terminal import complete
from tunnelctl.cli.terminal.output import can_show, json_text, say
from tunnelctl.config.profile.find import is_profile_name
from tunnelctl.config.sentences import NAME_RULE
from tunnelctl.errors import reason
from tunnelctl.home.paths import CONFIG_DIR_VARIABLE, current_folder
from tunnelctl.home.whole_file import write_whole

_MODE = 0o644  # nobody but its owner may change it

_DEFAULT = "default"


@click.command(epilog="Examples: tunnelctl config dev; tunnelctl config dev --json | jq .forwards")
@click.argument("profile", required=False, metavar="[PROFILE]", shell_complete=complete.profiles)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("-f", "--file", type=click.Path(path_type=Path), help="Path of the profile.")
@click.pass_obj
def config(options: Options, profile: str | None, as_json: bool, file: Path | None) -> None:
    """Print the effective profile, with all defaults (default: `default`).

    Resolves the files it extends, variables, ssh_config and defaults. Secrets are shown as
    references.
    """
    file = file or options.file
    name = profile if profile or file else _DEFAULT
    ((_, loaded),) = load([name], file, options.client)
    from tunnelctl.config.profile.canonical import as_document, as_yaml

    if as_json:
        click.echo(json_text(as_document(loaded.profile)), nl=False)
        return
    text = as_yaml(loaded.profile)
    is_shown = can_show(sys.stdout, text)
    click.echo(text if is_shown else as_yaml(loaded.profile, ascii_only=True), nl=False)


@click.command(epilog="Example: tunnelctl schema > tunnelctl.schema.json")
def schema() -> None:
    """Print the JSON Schema (draft-07) of a profile, for editors and validators."""
    from tunnelctl.config.profile.schema import json_schema

    click.echo(json_text(json_schema()), nl=False)


@click.command(epilog="Examples: tunnelctl init; tunnelctl init work --host bastion")
@click.argument("name", default=_DEFAULT)
@click.option(
    "--host",
    metavar="HOST",
    shell_complete=complete.ssh_hosts,
    help="The server: any name that ssh accepts.",
)
@click.option("--force", is_flag=True, help="Replace an existing profile.")
def init(name: str, host: str | None, force: bool) -> None:
    """Write a first profile and its schema to $TUNNELCTL_CONFIG_DIR or ./configs.

    Without --host the profile uses a built-in SSH server, so that `tunnelctl up` works at once.
    """
    from tunnelctl.config.profile.template import new_profile
    from tunnelctl.config.values import names

    try:
        host = None if host is None else names.host_name(host)
    except ValueError as error:
        raise click.UsageError(f"--host {error}") from None
    write_profile(name, new_profile(name, host), force=force)


def write_profile(name: str, text: str, *, force: bool) -> None:
    """Write a profile, and the schema that its first line names, where `up` finds it; report it.

    Raises:
        click.UsageError: the name is not valid.
        Failure: the profile exists and `force` is not given, or it cannot be written.
    """
    from tunnelctl.config.profile.schema import FILE_NAME

    if not is_profile_name(name):
        raise click.UsageError(f"{name!r} cannot be the name of a profile: {NAME_RULE}")
    named = os.environ.get(CONFIG_DIR_VARIABLE)
    folder = current_folder() / (named or "configs")
    path = folder / f"{name}.yaml"
    try:
        folder.mkdir(parents=bool(named), exist_ok=True)  # the current folder may be gone
        write_whole(path, text.encode(), mode=_MODE, is_new=not force)
        write_whole(folder / FILE_NAME, _schema_text().encode(), mode=_MODE)
    except FileExistsError:
        raise sentences.profile_exists(path) from None
    except OSError as error:
        file = str(error.filename or path)
        raise sentences.profile_not_written(file, reason(error)) from None
    click.echo(path)
    say(f"next: tunnelctl up {name}")


def _schema_text() -> str:
    from tunnelctl.config.profile.schema import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
