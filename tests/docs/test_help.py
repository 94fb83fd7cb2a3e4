"""Every command's help ends with examples of it, and the command takes them as they stand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from tunnelctl.cli.main import tunnelctl

_REST = re.compile(r" (\||>>?|#) .*")  # what a shell makes of its output


def leaves(context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by all its words."""
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        below = click.Context(command, context, name)  # which has the settings of the one above
        if isinstance(command, click.Group):
            yield from leaves(below)
        else:
            yield below.command_path, command


WHOLE = click.Context(tunnelctl, info_name="tunnelctl", **tunnelctl.context_settings)
COMMANDS = dict(leaves(WHOLE))


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_shows_examples_of_itself(path: str) -> None:
    command = COMMANDS[path]
    said, _, examples = " ".join((command.epilog or "").split()).partition(": ")
    if path == "tunnelctl status":  # another name of ps
        path = "tunnelctl ps"
    shown = examples.split("; ")
    assert said == ("Example" if len(shown) == 1 else "Examples"), path
    for example in shown:
        words = shlex.split(_REST.sub("", example.replace('eval "$(', "").replace(')"', "")))
        assert words[: len(path.split())] == path.split(), example
        # A usage error if an argument is wrong.
        command.make_context(path, words[len(path.split()) :], parent=WHOLE)
