"""Runs `tunnelctl` and sends it a signal after so many of its function calls.

    python tests/support/interrupted.py CALLS SIGNAL ARGUMENTS…

So a test meets every part of a command, however fast the machine is, where a delay would meet the
same few. Calls count from the command's first one on: before it Python searches for its code. With
CALLS 0 no signal is sent, and how many calls there were is the last line on stderr. Only the thread
of the command counts, and no process that it starts.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from types import FrameType
from typing import Any

_CALLS = ("call", "c_call")
_FIRST = os.path.join("tunnelctl", "__main__.py")


def main() -> None:
    """See the module's text."""
    at, number = int(sys.argv[1]), signal.Signals(int(sys.argv[2]))
    sys.argv = ["tunnelctl", *sys.argv[3:]]
    count = 0
    is_begun = False

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count, is_begun
        is_begun = is_begun or frame.f_code.co_filename.endswith(_FIRST)
        count += is_begun and event in _CALLS
        if is_begun and count == at:
            sys.setprofile(None)
            os.kill(os.getpid(), number)

    sys.setprofile(profile)
    try:
        runpy.run_module("tunnelctl", run_name="__main__", alter_sys=True)
    finally:
        sys.setprofile(None)
        if not at:
            print(count, file=sys.stderr)


if __name__ == "__main__":
    main()
