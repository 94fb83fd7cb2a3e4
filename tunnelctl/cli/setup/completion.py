"""`completion`: print the completion script of a shell, or install it where the shell looks."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from tunnelctl.cli import sentences
from tunnelctl.cli.setup.completion_files import SHELLS, Change, changes, script
from tunnelctl.cli.terminal.output import say
from tunnelctl.errors import reason
from tunnelctl.home.whole_file import write_whole


class Shells(click.Group):
    """The subcommands. What is none of them is most likely another shell."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments.

        Raises:
            UsageError: there is none; a shell that reads the output of this would read help.
        """
        if not args and not ctx.resilient_parsing:  # of TAB, which must say nothing
            raise click.UsageError(f"Missing a shell; choose from: {', '.join(SHELLS)}", ctx)
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a subcommand.

        Raises:
            UsageError: there is none of this name.
        """
        found = super().get_command(ctx, cmd_name)
        if found is None and not ctx.resilient_parsing:
            known = ", ".join(SHELLS)
            raise click.UsageError(f"no completion for {cmd_name}; there is one for {known}", ctx)
        return found


@click.group(
    cls=Shells,
    short_help="Print or install the completion scripts",
    epilog="Examples: tunnelctl completion install; tunnelctl completion bash",
)
def completion() -> None:
    """Completion of commands, options, profiles and forwards in bash, zsh and fish."""


@completion.command(epilog='Example: eval "$(tunnelctl completion bash)" # in ~/.bashrc')
def bash() -> None:
    """Print the script for bash."""
    click.echo(script("bash"))


@completion.command(
    epilog='Example: eval "$(tunnelctl completion zsh)" # in ~/.zshrc, after compinit'
)
def zsh() -> None:
    """Print the script for zsh."""
    click.echo(script("zsh"))


@completion.command(
    epilog="Example: tunnelctl completion fish | source # in ~/.config/fish/config.fish"
)
def fish() -> None:
    """Print the script for fish."""
    click.echo(script("fish"))


@completion.command(
    epilog="Examples: tunnelctl completion install; tunnelctl completion install zsh --dry-run"
)
@click.argument("shells", nargs=-1, metavar="[SHELL]...", type=click.Choice(SHELLS))
@click.option("--dry-run", is_flag=True, help="Print what would be written, without writing it.")
def install(shells: tuple[str, ...], dry_run: bool) -> None:
    """Write the scripts into your home, where bash, zsh and fish look; default: all three.

    zsh has no default completion folder in a home: a line in ~/.zshenv adds one, if zsh is
    installed.
    """
    for change in _changes(shells or SHELLS):
        if not change.is_needed:
            click.echo(f"{change.path}: unchanged")
        elif dry_run:
            click.echo(f"# {change.path}\n{change.added or change.text}")
        else:
            _write(change)
            click.echo(f"{change.path}: {'line added' if change.added else 'written'}")
    if not dry_run:
        say("new shells complete; bash needs the package bash-completion, zsh its compinit")


def _changes(shells: Sequence[str]) -> list[Change]:
    try:
        return [change for shell in shells for change in changes(shell, os.environ)]
    except OSError as error:
        raise sentences.completion_not_installed(str(error.filename), reason(error)) from None


def _write(change: Change) -> None:
    try:
        # compinit refuses folders that others can write to.
        change.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # A user's own file can be a link, which must remain one.
        path = change.path.resolve()
        write_whole(path, change.text.encode(errors="surrogateescape"), mode=change.mode)
    except OSError as error:
        raise sentences.completion_not_installed(str(change.path), reason(error)) from None
