"""A real ssh-agent of a test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.waiting import eventually


class RunningAgent:
    """Listens at `path`; `stop` ends it."""

    def __init__(self, path: Path) -> None:
        program = shutil.which("ssh-agent")
        assert program, "openssh-client is not installed"
        self.path = path
        self._process = subprocess.Popen(
            [program, "-D", "-a", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(path.exists, "the agent listens")

    def add(self, key: Path, *options: str) -> None:
        subprocess.run(
            ["ssh-add", "-q", *options, str(key)],
            env={**os.environ, "SSH_AUTH_SOCK": str(self.path)},
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
