"""`python -m fuzz [TARGET…] [--seconds N]`: every target in turn, each in a process of its own."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from fuzz.seeds import seeds
from fuzz.targets import TARGETS

_LONGEST_INPUT = 16 * 1024  # bytes
_SLOWEST_INPUT = 10  # seconds; longer is a fault too
_MEMORY = 1024  # MiB; more is a fault too


def main() -> int:
    """The code of the first target that failed, or 0."""
    arguments = _parser().parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: atheris is not installed: python -m pip install -e '.[fuzz]'", file=sys.stderr)
        return 2
    for name in arguments.target or TARGETS:
        code = _run(name, arguments.folder, arguments.seconds)
        if code:
            print(f"fuzz: {name} failed; its input is in {arguments.folder}", file=sys.stderr)
            return code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="default: all of them")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="corpus and finds")
    return parser


def _run(name: str, folder: Path, seconds: int) -> int:
    """One target for that long, from its seeds and what earlier runs have found."""
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [sys.executable, "-m", "fuzz.one", name, str(corpus)]
    command += [f"-max_total_time={seconds}", f"-max_len={_LONGEST_INPUT}"]
    command += [f"-timeout={_SLOWEST_INPUT}", f"-rss_limit_mb={_MEMORY}"]
    command += [f"-artifact_prefix={folder}/{name}-", "-print_final_stats=1"]
    print(f"fuzz: {name}", file=sys.stderr, flush=True)
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
