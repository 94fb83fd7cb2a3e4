"""A real ssh-agent of a test's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.support.waiting import eventually

PASSPHRASE = "a-passphrase"


class RunningAgent:
    """Listens at `path`; `stop` ends it, `start` has it there again, with no keys.

    `asks` is a program that it runs before it uses a key that was added with `-c`: its person.
    """

    def __init__(self, path: Path, *, asks: Path | None = None) -> None:
        self.path = path
        self._asks = asks
        self.start()

    def start(self) -> None:
        program = shutil.which("ssh-agent")
        assert program, "openssh-client is not installed"
        asks = {"SSH_ASKPASS": str(self._asks), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
        self._process = subprocess.Popen(
            [program, "-D", "-a", str(self.path)],
            env={**os.environ, **(asks if self._asks else {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._listens, "the agent listens")

    def add(self, key: Path, *options: str) -> None:
        self._ssh_add("-q", *options, str(key))

    def clear(self) -> None:
        """Have it forget every key."""
        self._ssh_add("-q", "-D")

    def lock(self) -> None:
        """`ssh-add -x`: it lists no keys until it is unlocked."""
        self._ssh_add("-x")

    def unlock(self) -> None:
        """`ssh-add -X`."""
        self._ssh_add("-X")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(str(self.path)) == 0

    def _ssh_add(self, *arguments: str) -> None:
        """Whatever it asks for, the answer is PASSPHRASE."""
        answers = self.path.with_name("answers")
        answers.write_text(f"#!/bin/sh\necho {PASSPHRASE}\n")
        answers.chmod(0o700)
        subprocess.run(
            ["ssh-add", *arguments],
            env={
                **os.environ,
                "SSH_AUTH_SOCK": str(self.path),
                "SSH_ASKPASS": str(answers),
                "SSH_ASKPASS_REQUIRE": "force",
            },
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
