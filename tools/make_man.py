"""Generates man/*.1 from the tree of commands: the text of `--help`, for man(1).

One page for tunnelctl, and one for each command with its subcommands: `man tunnelctl-up`.

    python -m tools.make_man

Run in the project's folder. Must never contain text about a command that its help lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from tunnelctl import __version__
from tunnelctl.cli.main import tunnelctl

FOLDER = Path(__file__).resolve().parents[1] / "man"

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


def pages() -> dict[str, str]:
    """Every page by its file name, in the macros of man(7)."""
    context = _context(tunnelctl, _NAME, None)
    return {
        f"{_NAME}.1": _whole(context),
        **{f"{_page_name(below)}.1": _one(below) for below in _below(context)},
    }


def _whole(context: click.Context) -> str:
    lines = [
        *_head(_NAME, "keeps SSH tunnels up"),
        ".SH SYNOPSIS",
        *_synopsis(context),
        ".SH DESCRIPTION",
        *_paragraphs(tunnelctl.help or ""),
        ".SH OPTIONS",
        *_options(context),
        ".SH COMMANDS",
        *(line for below in _below(context) for line in _listed(below)),
        ".SH EXIT STATUS",
        *_codes(tunnelctl.epilog or ""),
    ]
    return "\n".join(lines) + "\n" + _LATER


def _one(context: click.Context) -> str:
    """The page of a command, with a section for each subcommand."""
    command = context.command
    below = list(_below(context))
    summary = command.get_short_help_str(1000).replace("`", "")
    lines = [
        *_head(_page_name(context), summary.removesuffix(".")),
        ".SH SYNOPSIS",
        *_synopsis(context),
        ".SH DESCRIPTION",
        *_paragraphs(command.help or ""),
        ".SH OPTIONS",
        *_options(context),
        *([".SH COMMANDS"] if below else []),
        *(line for each in below for line in _section(each)),
        *([".SH EXAMPLES", *_examples(command.epilog)] if command.epilog else []),
        ".SH SEE ALSO",
        f".BR {_NAME} (1),",
        "which has the exit status, files and environment of all commands.",
    ]
    return "\n".join(lines) + "\n"


def _head(name: str, summary: str) -> list[str]:
    return [
        f'.TH {name.upper()} 1 "" "{_NAME} {__version__}" "User Commands"',
        '.\\" Written by python -m tools.make_man; a test holds it to what --help says.',
        ".SH NAME",
        f"{_plain(name)} \\- {_plain(summary)}",
    ]


def _page_name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _listed(context: click.Context) -> Iterator[str]:
    """A command in the list of all, with the page that describes it."""
    yield ".TP"
    yield f".BR {_plain(_page_name(context))} (1)"
    yield _escaped(context.command.get_short_help_str(1000))


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = tunnelctl.context_settings
    return click.Context(command, parent, name, terminal_width=1000, **settings)


def _below(context: click.Context) -> Iterator[click.Context]:
    """Every direct subcommand."""
    group = context.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if not command.hidden:
            yield _context(command, name, context)


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


def _examples(epilog: str) -> Iterator[str]:
    """Each example on a line of its own: `Examples: ONE; OTHER`."""
    text = " ".join(epilog.split())
    for line in re.sub(r"^Examples?: ", "", text).split("; "):
        yield ".PP"
        yield _escaped(line)


def _is_section(context: click.Context) -> bool:
    """Whether it is described on the page of another command."""
    return context.parent is not None and context.parent.parent is not None


def _synopsis(context: click.Context) -> Iterator[str]:
    pieces = context.command.collect_usage_pieces(context)
    yield f".B {_escaped(context.command_path)}"
    if pieces:
        yield _escaped(" ".join(pieces))


def _options(context: click.Context) -> Iterator[str]:
    for param in context.command.get_params(context):
        names, text = param.get_help_record(context) or ("", "")
        if text and ("--help" not in param.opts or not _is_section(context)):
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
    """Text in backticks becomes bold."""
    parts = text.split("`")
    whole = "".join(
        f"\\fB{_plain(part)}\\fP" if at % 2 else _plain(part) for at, part in enumerate(parts)
    )
    return f"\\&{whole}"


def _escaped(text: str) -> str:
    """Text that groff does not take for a request, whatever its first character (groff_man(7))."""
    return f"\\&{_plain(text)}"


def _plain(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


if __name__ == "__main__":
    for old in FOLDER.glob("*.1"):
        old.unlink()
    for file, text in pages().items():
        (FOLDER / file).write_text(text)
