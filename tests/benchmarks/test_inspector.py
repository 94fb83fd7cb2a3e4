"""The measurement of the inspector runs, with small numbers that say nothing about its cost.

From the source: compiling takes a minute.
"""

from __future__ import annotations

import subprocess
import sys


def test_every_figure_is_measured() -> None:
    small = ["--rounds", "1", "--mib", "1", "--requests", "16", "--events", "3", "--fill", "2"]
    command = [sys.executable, "-m", "benchmarks.inspector", "--pure", *small]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    table, said = done.stdout.split("\n\n")
    assert len(table.splitlines()) == 2 + 7
    assert "'overload': 0" in said
    assert "dropped: 0" in said
    assert "memory of the daemon" in said
