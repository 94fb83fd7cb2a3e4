"""The environment of this command, for its daemon or for the command itself.

Must never print a value of it.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from tunnelctl.cli.terminal.output import say
from tunnelctl.spec.environment import MOST_BYTES, Environment


def environment() -> Environment:
    """All variables of this process. $PWD is the current folder, as a shell sets it."""
    variables = Environment.from_bytes(os.environb)
    named = variables.get("PWD", "")
    try:
        here = named if named.startswith("/") and os.path.samefile(named, ".") else os.getcwd()
    except OSError:  # the folder in this variable, or the current one, was removed
        return variables.without("PWD")
    return Environment({**variables, "PWD": here})


def to_send(needed: Collection[str] = ()) -> Environment:
    """The part of it for the daemon: everything, unless that is too large. `needed` are the
    variables that a profile names."""
    sent, left_out = environment().fitting(needed)
    if left_out:
        what = f"this environment is larger than {MOST_BYTES // 1024} KiB"
        say(f"{what}: programs that the daemon starts do not get {', '.join(left_out)}")
    return sent
