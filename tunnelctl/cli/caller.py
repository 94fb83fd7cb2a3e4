"""The environment of this command, for its daemon or for what the command does itself.

Must never print a value of it.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from tunnelctl.cli.terminal.output import say
from tunnelctl.spec.environment import MOST_BYTES, Environment


def environment() -> Environment:
    """All variables of this process. $PWD is where it stands, as a shell has it."""
    variables = Environment.from_bytes(os.environb)
    named = variables.get("PWD", "")
    try:
        here = named if named.startswith("/") and os.path.samefile(named, ".") else os.getcwd()
    except OSError:  # the folder that this variable names, or where we are, is gone
        return variables.without("PWD")
    return Environment({**variables, "PWD": here})


def to_send(needed: Collection[str] = ()) -> Environment:
    """What of it the daemon is sent: all, but where that is too much. `needed` are the variables
    that a profile names."""
    sent, left_out = environment().fitting(needed)
    if left_out:
        what = f"this environment is larger than {MOST_BYTES // 1024} KiB"
        say(f"{what}: programs that the daemon starts do not get {', '.join(left_out)}")
    return sent
