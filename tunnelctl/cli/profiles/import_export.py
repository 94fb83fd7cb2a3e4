"""`import` and `export`: convert profiles from and to other programs.

What cannot be converted is reported on stderr and written as a comment.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tunnelctl.cli import sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.profiles.authoring import write_profile
from tunnelctl.cli.profiles.profile_files import load
from tunnelctl.cli.terminal import complete
from tunnelctl.cli.terminal.output import can_show, say
from tunnelctl.config.yaml.mistakes import ProfileInvalid
from tunnelctl.errors import reason
from tunnelctl.spec.environment import home

if TYPE_CHECKING:
    from tunnelctl.config.exchange.imported import Imported

Command = TypeVar("Command", bound=Callable[..., Any])
_STDIN = "-"


@click.group(
    "import",
    epilog="Example: tunnelctl import ssh-command 'ssh -N -L 5432:db:5432 bastion' -o db",
)
def import_() -> None:
    """Convert the settings of another program to a profile, on stdout or with -o NAME to a file.

    What cannot be converted is reported, and written as comments above the profile.
    """


def _options(command: Command) -> Command:
    """The options of every import."""
    for option in (
        click.option("--force", is_flag=True, help="Replace an existing profile."),
        click.option(
            "--permit",
            multiple=True,
            metavar="HOST:PORT",
            help="Targets that SOCKS clients on the server may reach from here.",
        ),
        click.option(
            "-o", "--output", "name", metavar="NAME", help="Write to a profile of this name."
        ),
    ):
        command = option(command)
    return command


@import_.command("ssh-config", epilog="Example: tunnelctl import ssh-config bastion -o work")
@click.argument("hosts", nargs=-1, metavar="[HOST]...", shell_complete=complete.ssh_hosts)
@click.option("-F", "file", metavar="FILE", help="File to read instead of ~/.ssh/config.")
@_options
def ssh_config(
    hosts: tuple[str, ...], file: str | None, name: str | None, permit: tuple[str, ...], force: bool
) -> None:
    """Convert LocalForward, RemoteForward and DynamicForward of hosts (default: all hosts)."""
    from tunnelctl.config.exchange.from_ssh_config import import_ssh_config

    imported = import_ssh_config(hosts, os.environ, file=file, permit=_permits(permit))
    _give(imported, shlex.join(["ssh-config", *hosts]), name, force=force)


@import_.command(
    "ssh-command",
    epilog="Example: tunnelctl import ssh-command 'ssh -N -L 5432:db:5432 bastion' -o db",
)
@click.argument("commands", nargs=-1, required=True, metavar="COMMAND...")
@_options
def ssh_command(
    commands: tuple[str, ...], name: str | None, permit: tuple[str, ...], force: bool
) -> None:
    """Convert command lines of ssh or autossh, each in quotes; `-` reads them from stdin.

    One alone may also follow as words: -- ssh -L 5432:db:5432 bastion.
    """
    from tunnelctl.config.exchange.from_ssh_command import import_ssh_command

    if len(commands) > 1 and not any(part.isspace() for part in commands[0]):
        commands = (shlex.join(commands),)
    texts = [_text(command) if command == _STDIN else command for command in commands]
    imported = import_ssh_command(texts, os.environ, permit=_permits(permit))
    _give(imported, "ssh-command", name, force=force)


@import_.command("boring", epilog="Example: tunnelctl import boring -o work")
@click.argument("file", required=False, metavar="[FILE]")
@_options
def boring(file: str | None, name: str | None, permit: tuple[str, ...], force: bool) -> None:
    """Convert the tunnels of boring; FILE defaults to boring's own, `-` is stdin."""
    from tunnelctl.config.exchange.from_boring import import_boring

    path = file or str(_boring_file())
    imported = import_boring(_text(path), os.environ, permit=_permits(permit))
    _give(imported, f"boring {path}", name, force=force)


@click.group(epilog="Example: tunnelctl export ssh dev")
def export() -> None:
    """Print a profile in the format of another program."""


@export.command(
    "ssh",
    epilog="Examples: tunnelctl export ssh dev; tunnelctl export ssh dev --config >> ~/.ssh/config",
)
@click.argument("profile", metavar="PROFILE", shell_complete=complete.profiles)
@click.option("--config", "as_config", is_flag=True, help="Print Host blocks for ~/.ssh/config.")
@click.option("-f", "--file", type=click.Path(path_type=Path), help="Path of the profile.")
@click.pass_obj
def export_ssh(options: Options, profile: str, as_config: bool, file: Path | None) -> None:
    """Print equivalent ssh command lines or Host blocks.

    What ssh cannot express is reported; the output never allows more than the profile does.
    """
    ((_, loaded),) = load([profile], file or options.file, options.client)
    from tunnelctl.config.exchange.to_ssh import as_blocks, as_commands

    exported = (as_blocks if as_config else as_commands)(loaded.profile)
    for note in exported.notes:
        say(note)
    notes = exported.notes if as_config else ()
    for line in (*(f"# {note}" for note in notes), *exported.lines):
        click.echo(line)


def _give(imported: Imported, source: str, name: str | None, *, force: bool) -> None:
    """Print or write the profile; report what could not be converted."""
    from tunnelctl.config.profile.template import SCHEMA_LINE

    for note in imported.notes:
        say(f"not converted: {note}")
    if not imported.forwards:
        raise sentences.nothing_to_import(source)
    text = imported.yaml(f"Made by tunnelctl import {source}")
    _check(text)
    if name is None and not can_show(sys.stdout, text):
        text = imported.yaml(f"Made by tunnelctl import {source}", ascii_only=True)
    for forward, keys in imported.forwards.items():
        if keys.get("expose"):
            say(f"{forward}: also reachable from other machines, as before")
    if name is None:
        click.echo(text, nl=False)
        return
    write_profile(name, SCHEMA_LINE + text, force=force)


def _check(text: str) -> None:
    """Validate the profile before it is printed or written.

    Raises:
        Failure: config-invalid, with the mistakes in the profile.
    """
    from tunnelctl.config.profile.load import load_profile

    with tempfile.TemporaryDirectory(prefix="tunnelctl-") as folder:
        path = Path(folder) / "imported.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            load_profile(path, os.environ)
        except ProfileInvalid as invalid:
            first = invalid.mistakes[0]
            raise sentences.imported_profile_invalid(first.path, first.message) from None


def _permits(written: Sequence[str]) -> Sequence[str]:
    from tunnelctl.config.values import endpoints

    for text in written:
        try:
            endpoints.permit(text)
        except ValueError as error:
            raise click.UsageError(f"--permit {error}") from None
    return written


def _text(path: str) -> str:
    """The contents of a file; `-` is stdin."""
    source = "standard input" if path == _STDIN else path
    try:
        raw = sys.stdin.buffer.read() if path == _STDIN else Path(path).read_bytes()
        return raw.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise sentences.import_unreadable(source, reason(error)) from None
    except UnicodeDecodeError:
        raise sentences.import_not_text(source) from None


def _boring_file() -> Path:
    """The file that boring reads: $BORING_CONFIG, its folder below $XDG_CONFIG_HOME, then the
    home."""
    named = os.environ.get("BORING_CONFIG")
    if named:
        return Path(named).expanduser()
    user = home(os.environ)
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or user / ".config") / "boring"
    places = (folder / "boring.toml", folder / ".boring.toml", user / ".boring.toml")
    return next((place for place in places if place.exists()), places[-1])
