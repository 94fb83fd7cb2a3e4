"""`python -m benchmarks.fleet`: faults in a fleet for a while; prints the figures and the verdict.

Exits with 1 after a violation.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fleet.run import document, judged, soak, text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--machines", type=int, default=5)
    parser.add_argument("--longest", type=float, default=math.inf, help="seconds of a fault")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--logs", type=Path, help="the daemons' logs after a long planned gap")
    asked = parser.parse_args(arguments)
    found = soak(
        asked.seconds,
        asked.seed,
        asked.machines,
        lambda line: print(line, file=sys.stderr, flush=True),
        asked.longest,
        asked.logs,
    )
    print(text(found), end="")
    if asked.json:
        asked.json.write_text(json.dumps(document(found), indent=1) + "\n")
    return 1 if judged(found) else 0


if __name__ == "__main__":
    sys.exit(main())
