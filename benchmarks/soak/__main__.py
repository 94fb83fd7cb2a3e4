"""`python -m benchmarks.soak`: random faults for a while; prints the measurements and the verdict.

Exits with 1 after a violation.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.soak.report import document, text
from benchmarks.soak.run import soak
from benchmarks.soak.scene import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--interval", type=float, default=15.0, help="server_alive_interval in seconds"
    )
    parser.add_argument("--count", type=int, default=3, help="server_alive_count_max")
    parser.add_argument("--reconnect-max", type=float, default=4.0, help="reconnect.max in seconds")
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args(arguments)
    found = soak(
        Settings(asked.interval, asked.count, asked.reconnect_max),
        asked.seconds,
        asked.seed,
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(text(found), end="")
    told = document(found)
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1) + "\n")
    return 1 if told["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
