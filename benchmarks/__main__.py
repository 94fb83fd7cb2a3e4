"""`python -m benchmarks`: measure, print the tables, write results.json and results.md.

Must never replace the results of a whole run by those of a partial one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.effort import FULL, QUICK
from benchmarks.measures import NAMES
from benchmarks.profile_daemon import print_profile
from benchmarks.report import report
from benchmarks.results import Results
from benchmarks.runner import all_peers, run

_HERE = Path(__file__).parent
_UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits(3)


def main(arguments: Sequence[str]) -> int:
    """The command; its exit code."""
    options = _options(arguments)
    # Both signals end the run as Ctrl-C does, together with everything that it has started. A
    # shell's `&` ignores SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    missing = [name for name in ("ssh", "sshd") if not _find(name)]
    if missing:
        print(f"benchmarks: {' and '.join(missing)} not found: install OpenSSH", file=sys.stderr)
        return _UNAVAILABLE
    effort = QUICK if options.quick else FULL
    if options.rounds:
        effort = dataclasses.replace(effort, rounds=options.rounds, far_rounds=options.rounds)
    if options.profile:
        print_profile(effort)
        return 0
    results = run(effort, only=options.only or NAMES, peers=options.peer)
    text = report(results)
    print(text, end="")
    whole = not (options.quick or options.only or options.peer)
    if whole or options.output:
        _write(results, text, options.output or _HERE)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every figure once, in a minute")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured")
    parser.add_argument(
        "--only", action="append", choices=NAMES, default=[], help="measure this (repeatable)"
    )
    parser.add_argument(
        "--peer",
        action="append",
        choices=[peer.name for peer in all_peers()],
        default=[],
        help="measure this one (repeatable)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="where results.json and results.md go (a whole run: beside this module)",
    )
    parser.add_argument(
        "--profile", action="store_true", help="where tunnelctl's time goes, up and down"
    )
    return parser.parse_args(arguments)


def _write(results: Results, text: str, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    document = json.dumps(results.as_json(), indent=2, ensure_ascii=False)
    (directory / "results.json").write_text(document + "\n")
    (directory / "results.md").write_text(text)


def _find(program: str) -> str | None:
    # sshd is only in root's PATH.
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
