"""`help` and `version`: what `--help` and `--version` print, for who types a word."""

from __future__ import annotations

import click

from tunnelctl.cli.terminal import complete


@click.command("help", epilog="Examples: tunnelctl help; tunnelctl help up")
@click.argument("commands", nargs=-1, metavar="[COMMAND]...", shell_complete=complete.commands)
@click.pass_context
def help_(ctx: click.Context, commands: tuple[str, ...]) -> None:
    """Print what a command does and takes, or which commands there are."""
    context = ctx.find_root()
    for name in commands:
        group = context.command
        command = group.get_command(context, name) if isinstance(group, click.Group) else None
        if command is None:
            known = group.list_commands(context) if isinstance(group, click.Group) else ()
            raise click.exceptions.NoSuchCommand(name, possibilities=known, ctx=context)
        context = click.Context(command, context, name)
    click.echo(context.get_help())


@click.command(epilog="Example: tunnelctl version")
@click.pass_context
def version(ctx: click.Context) -> None:
    """Print the version, as --version does."""
    ctx.find_root().command.main(["--version"], prog_name="tunnelctl", standalone_mode=False)
