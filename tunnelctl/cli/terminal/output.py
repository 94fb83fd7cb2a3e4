"""Output of the command line: data on stdout, messages on stderr, colour only if wanted."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from typing import TextIO

import click

from tunnelctl.errors import printable
from tunnelctl.home.redaction import SECRETS

_HANDLER = "tunnelctl"  # its name in Python's registry of error handlers
_SIGNS = {"…": "...", "→": "->"}


def say(text: str) -> None:
    """One message on stderr, with the program's name before it."""
    click.echo(f"tunnelctl: {printable(SECRETS.redact(text))}", err=True)


def in_colour(stream: TextIO) -> bool:
    """Whether to use colour on the stream (no-color.org, force-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") not in {None, "dumb"} and stream.isatty()


def width_of(stream: TextIO) -> int | None:
    """The number of columns of a line; None if unlimited or unknown."""
    if not stream.isatty():
        return None
    named = os.environ.get("COLUMNS", "")
    if named.isdigit() and int(named):
        return int(named)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def can_show(stream: TextIO, text: str) -> bool:
    """Whether the stream's encoding has every character of the text."""
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def json_text(document: object) -> str:
    """A document for programs, in characters that stdout can encode."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return (text if can_show(sys.stdout, text) else json.dumps(document, indent=2)) + "\n"


def take_any_text(stream: TextIO) -> None:
    """Make the stream print every text, whatever its encoding (see `_in_its_place`)."""
    codecs.register_error(_HANDLER, _in_its_place)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=_HANDLER)


def _in_its_place(error: UnicodeError) -> tuple[str | bytes, int]:
    """The replacement for characters that an encoding lacks: a byte of a file name unchanged (PEP
    383), similar characters for our own signs, else an escape as in JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return _SIGNS.get(character) or json.dumps(character)[1:-1], error.start + 1


def shown_on(stream: TextIO, text: str) -> str:
    """The text in characters that the stream can encode; `~` for an ellipsis that it cannot."""
    if can_show(stream, text):
        return text
    encoding = stream.encoding or "ascii"
    return text.replace("…", "~").encode(encoding, "replace").decode(encoding)
