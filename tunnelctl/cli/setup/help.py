"""`help` and `version`: the output of `--help` and `--version` as commands."""

from __future__ import annotations

import click

from tunnelctl.cli.terminal import complete


@click.command("help", epilog="Examples: tunnelctl help; tunnelctl help up")
@click.argument("commands", nargs=-1, metavar="[COMMAND]...", shell_complete=complete.commands)
@click.pass_context
def help_(ctx: click.Context, commands: tuple[str, ...]) -> None:
    """Print the help of a command, or the list of commands."""
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
    """Print the version, like --version."""
    ctx.find_root().command.main(["--version"], prog_name="tunnelctl", standalone_mode=False)
