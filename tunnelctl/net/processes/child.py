"""A program that we start, with everything that it starts in turn: one process group.

Owns the process from start to reaping, and the end of its standard error. Must never block the
loop, never run a shell, never leave a process or a zombie behind, and never signal a process that
is not its own: it is reaped on the loop, so its process id is valid until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence

from tunnelctl.net.processes import programs
from tunnelctl.net.threads import in_thread, shielded
from tunnelctl.spec.environment import Environment

# The kept end of its standard error, in bytes.
_SAID_MAX = 4096


class Child:
    """A program that runs, or has run. `name` is that of its thread."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._said = b""
        said = process.stderr or process.stdout
        assert said is not None
        self._stderr = said
        os.set_blocking(self._stderr.fileno(), False)
        self._loop.add_reader(self._stderr, self._listen)
        threading.Thread(target=self._wait, name=f"wait for {name}", daemon=True).start()

    @classmethod
    async def start(
        cls,
        words: Sequence[str],
        environment: Environment,
        name: str,
        *,
        stdio: socket.socket | None = None,
        stdin: int | None = None,
    ) -> Child:
        """Start the program `words[0]` (see programs.py). `stdio` becomes its standard input and
        output; without it they are /dev/null. Or it reads `stdin`, a descriptor, and its standard
        output is kept together with its standard error. It inherits no other descriptor than the
        pipe of its standard error.

        Raises:
            OSError, ValueError: it cannot be started.
        """
        fd = subprocess.DEVNULL if stdio is None else stdio.fileno()
        spawn = functools.partial(programs.start, tuple(words), environment)
        if stdin is None:
            spawn = functools.partial(spawn, stdin=fd, stdout=fd, stderr=subprocess.PIPE)
        else:
            heard = subprocess.PIPE
            spawn = functools.partial(spawn, stdin=stdin, stdout=heard, stderr=subprocess.STDOUT)
        work = in_thread(spawn, f"start {name}")
        try:
            return cls(await shielded(work), name)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError, ValueError):
                child = cls(await work, name)  # starting a program is quick
                child.signal(signal.SIGKILL)
                await child.wait()
            raise

    async def wait(self) -> int:
        """Its exit status once it has ended and was reaped; below 0 the signal that ended it."""
        return await shielded(self._ended)

    @property
    def has_ended(self) -> bool:
        """Whether it was reaped."""
        return self._ended.done()

    def status(self) -> int | None:
        """As `wait`, at once: None while it runs."""
        if self._ended.done():
            return self._ended.result()
        seen = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if seen is None:
            return None
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it started."""
        if not self._ended.done():
            # Not reaped yet, so the process id is still that of its group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    @property
    def said(self) -> str:
        """The end of its standard error, unchanged: escape it before it is shown."""
        self._listen()
        return self._said.decode(errors="replace")

    def last_line(self) -> str:
        """The last line of it, as `said`."""
        lines = [line.strip() for line in self.said.splitlines()]
        return next(filter(None, reversed(lines)), "")

    def _listen(self) -> None:
        """Keep the end of its standard error."""
        if self._stderr.closed:
            return
        try:
            while data := os.read(self._stderr.fileno(), _SAID_MAX):
                self._said = (self._said + data)[-_SAID_MAX:]
        except BlockingIOError:
            return
        self._loop.remove_reader(self._stderr)

    def _wait(self) -> None:
        """In a thread of its own: wait for the end of the process, and let the loop reap it."""
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self._reap)

    def _reap(self) -> None:
        self.signal(signal.SIGKILL)  # what it left behind in its group
        status = self._process.wait()
        self._listen()
        self._loop.remove_reader(self._stderr)
        self._stderr.close()
        self._ended.set_result(status)


def ending(status: int) -> str:
    """How a program ended, as part of a sentence."""
    if status >= 0:
        return f"ended with exit status {status}"
    return f"was ended by {signal.Signals(-status).name}"
