"""What a server said in its session, for commands whose result it is: each line once, on stdout.

Works on what status keeps. Events would do for what comes, but not for what came before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import click

from tunnelctl.state.snapshot import HostStatus

_REMEMBERED = 1000


class Said:
    """The lines of one host's session that were printed so far."""

    def __init__(self) -> None:
        self._printed: deque[str] = deque(maxlen=_REMEMBERED)

    def show(self, host: HostStatus) -> None:
        """Print what is new in the status of the host."""
        lines: Sequence[str] = host.said or ()
        for line in lines[_overlap(list(self._printed), lines) :]:
            self._printed.append(line)
            click.echo(line)


def _overlap(before: Sequence[str], now: Sequence[str]) -> int:
    """How many lines at the begin of `now` are those that `before` ends with."""
    most = min(len(before), len(now))
    return next(n for n in range(most, -1, -1) if list(before[len(before) - n :]) == list(now[:n]))
