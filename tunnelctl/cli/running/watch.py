"""`ps --watch`: a table that is updated.

Shows frames on the alternate screen of a terminal, which rich draws and restores however the
command ends; a pipe or a dumb terminal gets one table after another. The content comes from the
status document only; events only trigger an update. A daemon that went away is waited for, except
by programs.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import click

from tunnelctl import clock
from tunnelctl.cli.running.holding import ended_in_order
from tunnelctl.cli.terminal.output import in_colour, shown_on
from tunnelctl.cli.terminal.table import lines
from tunnelctl.client import Client, EventStream
from tunnelctl.closeable import Closeable
from tunnelctl.errors import Code, Failure, printable
from tunnelctl.state.documents.snapshot import Status
from tunnelctl.view import columns, model, trouble
from tunnelctl.view.rates import ForwardRates

_EVERY = 1.0  # seconds between two frames without events
_EVERY_PIPED = 5.0
_TOGETHER = 0.1  # seconds in which events share a frame
_AGAIN = 0.5  # seconds between two attempts to reach a daemon

Look = Callable[[], tuple[Status, list[str]]]


def watch(client: Client, look: Look, *, as_text: Callable[[Status], str] | None) -> NoReturn:
    """Show the profiles that `look` returns, and the lines below the table, until interrupted.

    `as_text` returns a line of the document, for programs, instead of a table.

    Raises:
        Failure: daemon-not-running, it is not there or, with `as_text`, went away.
    """
    if as_text is not None:
        with client.events() as stream:
            _print(lambda: [as_text(look()[0])], lambda: _wait(stream, _EVERY_PIPED))
    client.on_silence = None  # the frames tell it
    with _Changes(client) as changes:
        frames = Frames(look)
        if _is_alive(sys.stdout.isatty()):
            _show(frames, lambda: changes.wait(_EVERY))
        _print(lambda: [*frames.lines(None), ""], lambda: changes.wait(_EVERY_PIPED))


def _is_alive(is_terminal: bool) -> bool:
    """Whether written lines can be changed."""
    return is_terminal and os.environ.get("TERM") not in {None, "", "dumb"}


class Frames:
    """The content, one frame after another."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._rates = ForwardRates()

    def lines(self, width: int | None) -> list[str]:
        """The present table, and the problems below it; without a daemon only that."""
        try:
            document, remarks = self._look()
        except Failure as failure:
            if failure.code is not Code.DAEMON_NOT_RUNNING:
                raise
            self._rates = ForwardRates()  # the next one counts from 0
            return [_cut(line, width) for line in (f"tunnelctl: {failure}", trouble.AWAY)]
        self._rates.add(document.profiles, clock.monotonic())
        view = model.build(document, None, None, clock.wall(), self._rates)
        rows = lines(
            columns.forwards(with_rates=True),
            view.forwards,
            colour=in_colour(sys.stdout),
            width=width,
        )
        below = [_cut(printable(remark), width) for remark in remarks]
        return [shown_on(sys.stdout, line) for line in [*rows, *([""] if below else []), *below]]


class _Changes(Closeable):
    """The events of the daemon, and of the next one."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream: EventStream | None = client.events()

    def close(self) -> None:
        """Close the stream."""
        if self._stream is not None:
            self._stream.close()

    def wait(self, seconds: float) -> None:
        """Wait for an event and those right after it, `seconds` at most, or for a daemon."""
        try:
            if self._stream is None:
                self._stream = self._client.events()
            else:
                _wait(self._stream, seconds)
        except Failure as failure:
            if failure.code is not Code.DAEMON_NOT_RUNNING:
                raise
            self.close()
            self._stream = None
            select.select([], [], [], _AGAIN)


def _show(frames: Frames, wait: Callable[[], None]) -> NoReturn:
    from rich.console import Console  # slow to import: only for a terminal
    from rich.live import Live
    from rich.text import Text

    output = sys.stdout.fileno()
    console = Console(highlight=False, soft_wrap=False)
    shown: list[str] = []
    try:
        with (
            ended_in_order(),
            _silent(sys.stdin.fileno()),
            Live(console=console, screen=True, auto_refresh=False) as live,
        ):
            while True:
                size = os.get_terminal_size(output)
                shown = frames.lines(size.columns or None)
                frame = Text("\n", no_wrap=True, overflow="crop").join(
                    map(Text.from_ansi, _as_many(shown, size))
                )
                live.update(frame, refresh=True)
                wait()
    finally:
        for line in shown:  # the last frame stays visible
            click.echo(line, color=True)


def _print(lines: Callable[[], list[str]], wait: Callable[[], None]) -> NoReturn:
    before = None
    while True:
        now = lines()
        if now != before:
            before = now
            for line in now:
                click.echo(line, color=in_colour(sys.stdout))
            sys.stdout.flush()
        wait()


def _wait(stream: EventStream, seconds: float) -> None:
    """Wait for an event and those right after it; `seconds` at most."""
    if stream.next(seconds) is None:
        return
    until = clock.monotonic() + _TOGETHER
    while (left := until - clock.monotonic()) > 0:
        stream.next(left)


@contextlib.contextmanager
def _silent(descriptor: int) -> Iterator[None]:
    """Input is not echoed, and discarded at the end."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


def _as_many(lines: Sequence[str], size: os.terminal_size) -> list[str]:
    """As many lines as fit; the last one counts the others."""
    room = size.lines or len(lines)
    if len(lines) <= room:
        return list(lines)
    left = f"… {len(lines) - room + 1} more lines"
    return [*lines[: room - 1], shown_on(sys.stdout, _cut(left, size.columns or None))]


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: width - 1] + "…"
