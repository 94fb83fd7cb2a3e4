"""Packages that only an extra of ours brings, and what installs them.

Owns the command that is said. Must never install anything.
"""

from __future__ import annotations

import shlex
import sys


def install_command(extra: str) -> str:
    """What installs an extra beside the tunnelctl that runs: another Python's pip knows neither."""
    return shlex.join([sys.executable, "-m", "pip", "install", f"tunnelctl[{extra}]"])
