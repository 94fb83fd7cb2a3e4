"""How the command line talks: data on stdout, talk on stderr, colour only where it is wanted."""

from __future__ import annotations

import os
from typing import TextIO

import click

from tunnelctl.config.mistakes import printable
from tunnelctl.config.redaction import SECRETS


def say(text: str) -> None:
    """One line of talk on stderr, with our name before it."""
    click.echo(f"tunnelctl: {printable(SECRETS.redact(text))}", err=True)


def in_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to the stream (no-color.org, force-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") not in {None, "dumb"} and stream.isatty()


def width_of(stream: TextIO) -> int | None:
    """How many columns a line may have there; None where that does not matter or is not known."""
    if not stream.isatty():
        return None
    named = os.environ.get("COLUMNS", "")
    if named.isdigit() and int(named):
        return int(named)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def shown_on(stream: TextIO, text: str) -> str:
    """The text in characters that the stream can take; `~` for an ellipsis that it cannot."""
    encoding = stream.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("…", "~").encode(encoding, "replace").decode(encoding)
    return text


def seconds_text(seconds: float) -> str:
    """A time as a person reads it at a glance: `12s`, `3m`, `5h`, `2d`."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def bytes_text(count: int) -> str:
    """A number of bytes in at most four characters: `0`, `340k`, `1.2M` (powers of 1000)."""
    if count < 1000:
        return str(count)
    amount = float(count)
    for unit in "kMGTP":
        amount /= 1000
        if amount < 9.95:
            return f"{amount:.1f}{unit}"
        if amount < 999.5:
            return f"{amount:.0f}{unit}"
    return f"{amount:.0f}E"
