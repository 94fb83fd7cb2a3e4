"""The program in the one file, which is also the Python that tunnelctl starts for its daemon.

PyInstaller's `sys.executable` is this program. It takes the few options of python(1) with which
tunnelctl calls itself; all other arguments are the command line of tunnelctl.
"""

from __future__ import annotations

import sys

from tunnelctl.__main__ import main

_ISOLATED = ("-I", "-P")  # no folder of the user's is in the path of this program


def run(words: list[str]) -> int:
    """Run `-m tunnelctl ARGUMENTS`, `-c CODE ARGUMENTS`, or `ARGUMENTS`; returns the exit code."""
    while words[:1] and words[0] in _ISOLATED:
        words = words[1:]
    if words[:1] == ["-c"]:
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - as python -c
        return 0
    if words[:2] == ["-m", "tunnelctl"]:
        words = words[2:]
    sys.argv = [sys.argv[0], *words]
    return main()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
