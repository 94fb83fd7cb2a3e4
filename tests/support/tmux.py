"""A real terminal for a command: tmux draws it, and says what stands on its screen."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

_NUMBERS = itertools.count()


class Tmux:
    """One window of `columns` by `lines`, with `command` in it, on a tmux server of its own."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        environ: Mapping[str, str],
        columns: int,
        lines: int,
    ) -> None:
        program = shutil.which("tmux")
        if program is None:
            pytest.skip("tmux is not installed")
        # A socket of its own: the last server may not have ended yet.
        name = f"tmux-{next(_NUMBERS)}"
        self._tmux = (program, "-f", "/dev/null", "-S", str(directory / name))
        self._environ = {**environ, "LC_ALL": "C.UTF-8"}
        self._directory = directory
        size = ("-x", str(columns), "-y", str(lines))
        self._do("new-session", "-d", *size, *command)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._do("kill-server")

    def screen(self) -> list[str]:
        """The lines of the screen that are not empty, without the blanks at their ends."""
        shown = self._do("capture-pane", "-p")
        return [line.rstrip() for line in shown.splitlines() if line.strip()]

    def coloured(self) -> bool:
        """Whether something on the screen has a colour."""
        return "\x1b[" in self.drawn()

    def drawn(self) -> str:
        """The screen with the control sequences for its colours and styles."""
        return self._do("capture-pane", "-p", "-e")

    def shows_cursor(self) -> bool:
        """Whether the cursor can be seen."""
        return self._do("display-message", "-p", "#{cursor_flag}").strip() == "1"

    def pid(self) -> int:
        """The process of the command."""
        return int(self._do("display-message", "-p", "#{pane_pid}"))

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names, e.g. `C-c`."""
        self._do("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size."""
        self._do("resize-window", "-x", str(columns), "-y", str(lines))

    def _do(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words],
            cwd=self._directory,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout
