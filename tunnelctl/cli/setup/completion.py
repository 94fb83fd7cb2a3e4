"""`completion`: print the shell completion script."""

from __future__ import annotations

import contextlib
import io

import click
from click.shell_completion import get_completion_class

from tunnelctl.cli.main import tunnelctl

_PROGRAM = "tunnelctl"
_VARIABLE = "_TUNNELCTL_COMPLETE"  # click's, for a program of that name


@click.command(
    epilog='Examples: eval "$(tunnelctl completion bash)" # in ~/.bashrc; '
    'eval "$(tunnelctl completion zsh)" # in ~/.zshrc, after compinit; '
    "tunnelctl completion fish | source # in ~/.config/fish/config.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the shell completion script: commands, options, profiles and forwards."""
    kind = get_completion_class(shell)
    assert kind is not None
    with contextlib.redirect_stderr(io.StringIO()):  # of this machine's bash, which need not run it
        script = kind(tunnelctl, {}, _PROGRAM, _VARIABLE).source()
    click.echo(script)
