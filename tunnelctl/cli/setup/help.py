"""`help` and `version`: the man page of a command, and `--version` as a command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click

import tunnelctl
from tunnelctl.cli.terminal import complete


@click.command("help", epilog="Examples: tunnelctl help; tunnelctl help up")
@click.argument("commands", nargs=-1, metavar="[COMMAND]...", shell_complete=complete.commands)
@click.pass_context
def help_(ctx: click.Context, commands: tuple[str, ...]) -> None:
    """Show the man page of a command; without COMMAND, print the list of commands.

    It prints the text of --help if the output is not a terminal, or man is not installed.
    """
    context = ctx.find_root()
    for name in commands:
        group = context.command
        command = group.get_command(context, name) if isinstance(group, click.Group) else None
        if command is None:
            known = group.list_commands(context) if isinstance(group, click.Group) else ()
            raise click.exceptions.NoSuchCommand(name, possibilities=known, ctx=context)
        context = click.Context(command, context, name)
    if not (commands and sys.stdout.isatty() and _show_page(f"tunnelctl-{commands[0]}.1")):
        click.echo(context.get_help())


def _show_page(name: str) -> bool:
    """Show a man page of this installation; False if it cannot be shown.

    pip, pipx and uv install the pages into the environment, where man does not always look; the
    Debian package has them where man does.
    """
    man = shutil.which("man")
    page = next((page for page in pages(name) if page.exists()), None)
    if man is None or page is None:
        return False
    sys.stdout.flush()
    shown = subprocess.run([man, str(page)], check=False)  # noqa: S603 - our own file
    return shown.returncode == 0


def pages(name: str) -> tuple[Path, ...]:
    """The path of a page: beside the packages of this Python, in a clone, or of the system."""
    clone = Path(tunnelctl.__file__).parents[1]
    return (
        Path(sys.prefix, "share/man/man1", name),
        clone / "man" / name,
        Path("/usr/share/man/man1", f"{name}.gz"),
    )


@click.command(epilog="Example: tunnelctl version")
@click.pass_context
def version(ctx: click.Context) -> None:
    """Print the version, like --version."""
    ctx.find_root().command.main(["--version"], prog_name="tunnelctl", standalone_mode=False)
