"""A terminal of its own for a command, and somebody who reads and types there."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.services import DEADLINE

# The session's leader takes the terminal at its standard input for its own (setsid(2), tty(4)).
_TAKE = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """Runs `command`, an absolute path and arguments, on a new terminal; closing it hangs up."""

    def __init__(self, command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> None:
        self.shown = ""  # all that was printed so far
        self._seen = 0
        self._is_hung_up = False
        self._ours, theirs = pty.openpty()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _TAKE, *command],
                cwd=cwd,
                env={"TERM": "xterm", **environ},
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        finally:
            os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        if not self._is_hung_up:
            os.close(self._ours)

    @property
    def echoes(self) -> bool:
        """Whether what is typed can be seen."""
        return bool(termios.tcgetattr(self._ours)[3] & termios.ECHO)

    def expect(self, text: str) -> str:
        """Wait until `text` is printed, after what was expected before; what came before it."""
        end = time.monotonic() + DEADLINE
        while (found := self.shown.find(text, self._seen)) < 0:
            assert time.monotonic() < end, f"no {text!r} in {self.shown!r}"
            assert self._read(), f"it ended without {text!r}: {self.shown!r}"
        before = self.shown[self._seen : found]
        self._seen = found + len(text)
        return before

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._ours, text.encode())

    def answer(self, prompt: str, line: str) -> None:
        """Wait for a prompt, and type a line."""
        self.expect(prompt)
        self.type(line + "\n")

    def wait(self) -> int:
        """Read to the end; the exit code."""
        end = time.monotonic() + DEADLINE
        while self._read():
            assert time.monotonic() < end, f"it does not end: {self.shown!r}"
        return self.process.wait(DEADLINE)

    def hang_up(self) -> int:
        """Close the terminal as its window does; the exit code, negative for a signal."""
        os.close(self._ours)
        self._is_hung_up = True
        return self.process.wait(DEADLINE)

    def _read(self) -> bool:
        """Read what comes within a moment; False at the end."""
        if not select.select([self._ours], [], [], 0.2)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # nobody holds the other end any more (EIO)
            return False
        self.shown += data.decode().replace("\r\n", "\n")
        return bool(data)
