"""The one place where a program is started: whose environment it has, and what of ours it has not.

Owns the call. Blocking: returns once the program runs. Must never run a shell by itself, give a
program a terminal, or pass a descriptor on that it was not given.
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
    """Start the program `words[0]`, found by the environment's own $PATH, in a session of its own.

    It stands where the environment says ($PWD), as if it was started from there. The descriptors
    may be subprocess.PIPE, STDOUT and DEVNULL as well.

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
    """Where ssh would start it; a folder that is gone since then keeps nobody from work."""
    named = environment.get("PWD", "")
    return named if named.startswith("/") and os.access(named, os.X_OK) else _ELSEWHERE
