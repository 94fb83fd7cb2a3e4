"""A database server of a test's own: its folder, its process and its end.

Must never leave the process or the folder behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.ports import free_port
from tests.support.services import DEADLINE
from tests.support.waiting import eventually
from tunnelctl.closeable import Closeable

NOT_ROOT = "nobody"  # database servers refuse to run as root


class DatabaseServer(Closeable):
    """Its files are in `data`. A context manager."""

    def __init__(self, name: str) -> None:
        self.port = free_port()
        self._name = name
        # Not below pytest's folder, where nobody but the user who runs the tests may look.
        self._folder = tempfile.TemporaryDirectory(prefix=f"tctl-{name.lower()}-")
        self.data = Path(self._folder.name)
        self._log = self.data / "log"
        self.user = NOT_ROOT if os.geteuid() == 0 else None
        if self.user is not None:
            shutil.chown(self.data, self.user)

    def start(self, command: Sequence[str], says: str, user: str | None = None) -> None:
        """Run the server as `user`, and wait until its log `says` that it is ready."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.data,
                user=user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(lambda: self._has_said(says), f"{self._name} is ready")

    def _has_said(self, words: str) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        return words in self._log.read_text()

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait(DEADLINE)
        self._folder.cleanup()
