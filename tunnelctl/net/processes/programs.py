"""The only place where a program is started: its environment, and what it does not inherit.

Owns the call. Blocking: returns once the program runs. Must never run a shell by itself, give a
program a terminal, or pass on a descriptor that it was not given.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from tunnelctl.spec.environment import Environment

_ELSEWHERE = "/"


def start(
    words: Sequence[str], environment: Environment, *, stdin: int, stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    """Start the program `words[0]`, found through $PATH of the environment, in a session of its
    own.

    Its current folder is that of the environment ($PWD), as if it was started from there. The
    descriptors may also be subprocess.PIPE, STDOUT and DEVNULL.

    Raises:
        OSError, ValueError: it cannot be started.
    """
    return subprocess.Popen(  # noqa: S603 - the words of the profile's owner, no shell
        words,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment.to_bytes(),
        cwd=folder(environment),
        start_new_session=True,
        bufsize=0,
    )


def folder(environment: Environment) -> str:
    """The folder in which ssh would start it; one that does not exist any more is ignored."""
    named = environment.get("PWD", "")
    return named if named.startswith("/") and os.access(named, os.X_OK) else _ELSEWHERE
