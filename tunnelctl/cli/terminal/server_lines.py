"""The lines that a server prints in its session, for commands whose result they are: once, on
stdout.

Uses the lines in status, because events do not include earlier ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import click

from tunnelctl.state.documents.snapshot import HostStatus

_REMEMBERED = 1000


class Said:
    """The lines of one host's session that were printed so far."""

    def __init__(self) -> None:
        self._printed: deque[str] = deque(maxlen=_REMEMBERED)

    def show(self, host: HostStatus) -> None:
        """Print the new lines in the status of the host."""
        lines: Sequence[str] = host.said or ()
        for line in lines[_overlap(list(self._printed), lines) :]:
            self._printed.append(line)
            click.echo(line)


def _overlap(before: Sequence[str], now: Sequence[str]) -> int:
    """How many lines at the beginning of `now` are those at the end of `before`."""
    most = min(len(before), len(now))
    return next(n for n in range(most, -1, -1) if list(before[len(before) - n :]) == list(now[:n]))
