"""Messages to a service manager (sd_notify(3)), and stack dumps of a daemon that is stuck.

Owns the heartbeat: a timer on the loop that feeds the manager's watchdog and postpones the dump of
every thread's stack. Must never run anywhere else: a loop that makes no progress has to be noticed.
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

_STUCK_AFTER = 30.0  # seconds without a turn of the loop, unless the manager asks for less
_BEATS = 4  # for each such time


class ServiceManager:
    """The service manager that started the daemon, if any."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = address if address.startswith(("/", "@")) else ""
        self.watchdog = _watchdog(environ) if self._address else None

    def shorten_watchdog(self, seconds: float) -> None:
        """Have a process that is stuck ended after so many seconds (WATCHDOG_USEC=, sd_notify(3)),
        if the manager has a watchdog and a longer one."""
        if self.watchdog is not None and seconds < self.watchdog:
            self.watchdog = seconds
            self.tell(f"WATCHDOG_USEC={round(seconds * 1e6)}")

    def tell(self, state: str) -> None:
        """Send one assignment, such as `READY=1`. Failures are ignored."""
        if not self._address:
            return
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # a manager that hangs must not block the daemon
            sock.connect(address)
            sock.send(state.encode())


class Heart:
    """Beats on the running loop until `close`; if it stops beating, the stacks are written to
    `dumps`.

    Nothing is dumped if `dumps` is None.
    """

    def __init__(self, manager: ServiceManager, dumps: IO[str] | None) -> None:
        self._manager = manager
        self._dumps = dumps
        self._stuck_after = manager.watchdog / 2 if manager.watchdog else _STUCK_AFTER
        self._loop = asyncio.get_running_loop()
        if dumps is not None:
            # systemd sends SIGABRT when the watchdog times out.
            faulthandler.enable(dumps)
        self._beat()

    def close(self) -> None:
        """Stop beating."""
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
    """A private file for the stacks of a daemon without a terminal; None if it cannot be opened.

    The dumps of earlier daemons are kept.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return open(os.open(path, flags, 0o600), "a", encoding="utf-8")
    except OSError:
        return None


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """The watchdog interval of the manager in seconds (sd_watchdog_enabled(3))."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if not microseconds.isdigit() or pid not in {None, str(os.getpid())}:
        return None
    return int(microseconds) / 1e6 or None
