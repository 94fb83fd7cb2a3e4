"""What a service manager hears of the daemon (sd_notify(3)), and what is kept of one that is stuck.

Owns the heart: a timer on the loop that feeds the manager's watchdog and puts off the dump of every
thread's stack. Must never beat from anywhere else: a loop that makes no progress is to be noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import IO

_STUCK_AFTER = 30.0  # seconds without a turn of the loop, where no manager says less
_BEATS = 4  # for each time that would be too long


class ServiceManager:
    """The service manager that started us; there may be none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = address if address.startswith(("/", "@")) else ""
        self.watchdog = _watchdog(environ) if self._address else None

    def tell(self, state: str) -> None:
        """Send one assignment, such as `READY=1`. Nobody need hear it."""
        if not self._address:
            return
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # a manager that hangs must not hang us
            sock.connect(address)
            sock.send(state.encode())


class Heart:
    """Beats on the running loop until `close`; the stacks of one that stopped go to `dumps`.

    Without a file to write to (None) nothing is dumped.
    """

    def __init__(self, manager: ServiceManager, dumps: IO[str] | None) -> None:
        self._manager = manager
        self._dumps = dumps
        self._stuck_after = manager.watchdog / 2 if manager.watchdog else _STUCK_AFTER
        self._loop = asyncio.get_running_loop()
        if dumps is not None:
            # SIGABRT is what systemd sends to one whose watchdog starved.
            faulthandler.enable(dumps)
        self._beat()

    def close(self) -> None:
        """Beat no more."""
        self._timer.cancel()
        if self._dumps is not None:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()

    def _beat(self) -> None:
        self._timer = self._loop.call_later(self._stuck_after / _BEATS, self._beat)
        if self._manager.watchdog:
            self._manager.tell("WATCHDOG=1")
        if self._dumps is not None:
            faulthandler.dump_traceback_later(self._stuck_after, file=self._dumps)


def open_dumps(path: Path) -> IO[str] | None:
    """A private file for the stacks of a daemon without a terminal; None where there is no place.

    What an earlier daemon left in it stays.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return open(os.open(path, flags, 0o600), "a", encoding="utf-8")
    except OSError:
        return None


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Seconds within which the manager wants a sign of life (sd_watchdog_enabled(3))."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if not microseconds.isdigit() or pid not in {None, str(os.getpid())}:
        return None
    return int(microseconds) / 1e6 or None
