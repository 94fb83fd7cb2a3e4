"""Writes man/tunnelctl.1 from the tree of commands: what `--help` says of each, for man(1).

    python -m docs.make_man

From the project's folder. Must never say of a command what its help does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from tunnelctl import __version__
from tunnelctl.cli.main import tunnelctl

PAGE = Path(__file__).resolve().parents[1] / "man" / "tunnelctl.1"

_NAME = "tunnelctl"
_LATER = """\
.SH FILES
.TP
.I ./configs, ./.tunnelctl, ~/.config/tunnelctl, /etc/tunnelctl
Where profiles are looked for, \\fINAME\\fP.yaml each.
.TP
.I $XDG_RUNTIME_DIR/tunnelctl/control.sock
Where the daemon answers; \\fItunnelctl paths\\fP prints all places.
.SH ENVIRONMENT
.TP
.B TUNNELCTL_CONFIG_DIR
A folder of profiles that comes before the others.
.TP
.B TUNNELCTL_SOCKET
Another control socket.
.TP
.B NO_COLOR, FORCE_COLOR
Never a colour, or always.
.SH SEE ALSO
.BR ssh (1),
.BR ssh_config (5),
.BR systemd.service (5)
"""


def page() -> str:
    """The whole page, in the macros of man(7)."""
    context = _context(tunnelctl, _NAME, None)
    description, exit_codes = tunnelctl.help or "", tunnelctl.epilog or ""
    lines = [
        f'.TH {_NAME.upper()} 1 "" "{_NAME} {__version__}" "User Commands"',
        '.\\" Written by python -m docs.make_man; a test holds it to what --help says.',
        ".SH NAME",
        f"{_NAME} \\- keeps SSH tunnels up",
        ".SH SYNOPSIS",
        *_synopsis(context),
        ".SH DESCRIPTION",
        *_paragraphs(description),
        ".SH OPTIONS",
        *_options(context),
        ".SH COMMANDS",
        *(line for below in _commands(context) for line in _section(below)),
        ".SH EXIT STATUS",
        *_codes(exit_codes),
    ]
    return "\n".join(lines) + "\n" + _LATER


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = tunnelctl.context_settings
    return click.Context(command, parent, name, terminal_width=1000, **settings)


def _commands(context: click.Context) -> Iterator[click.Context]:
    """Every command below one, those below groups too."""
    group = context.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if not command.hidden:
            below = _context(command, name, context)
            yield below
            yield from _commands(below)


def _section(context: click.Context) -> Iterator[str]:
    command = context.command
    title = context.command_path.removeprefix(f"{_NAME} ")
    yield f".SS {_escaped(title)}"
    yield from _synopsis(context)
    yield ".PP"
    yield from _paragraphs(command.help or "")
    yield from _options(context)
    if command.epilog:
        yield ".PP"
        yield from _paragraphs(command.epilog)


def _synopsis(context: click.Context) -> Iterator[str]:
    pieces = context.command.collect_usage_pieces(context)
    yield f".B {_escaped(context.command_path)}"
    if pieces:
        yield _escaped(" ".join(pieces))


def _options(context: click.Context) -> Iterator[str]:
    for param in context.command.get_params(context):
        names, text = param.get_help_record(context) or ("", "")
        if text and ("--help" not in param.opts or context.parent is None):
            yield ".TP"
            yield f".B {_escaped(names)}"
            yield _escaped(text)


def _codes(epilog: str) -> Iterator[str]:
    for code, meaning in re.findall(r"(\d+) ([^,.]+)[,.]", epilog):
        yield ".TP"
        yield f".B {code}"
        yield _escaped(meaning)


def _paragraphs(text: str) -> Iterator[str]:
    for at, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if at:
            yield ".PP"
        yield _marked(" ".join(paragraph.split()))


def _marked(text: str) -> str:
    """What stands in backticks in bold letters."""
    parts = text.split("`")
    whole = "".join(
        f"\\fB{_plain(part)}\\fP" if at % 2 else _plain(part) for at, part in enumerate(parts)
    )
    return f"\\&{whole}"


def _escaped(text: str) -> str:
    """Text that is no request, whatever it begins with (groff_man(7))."""
    return f"\\&{_plain(text)}"


def _plain(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


if __name__ == "__main__":
    PAGE.write_text(page())
