"""Generates docs/size.md: what an installation of tunnelctl consists of, measured.

    python -m tools.make_sizes

Run in the project's folder, in an environment with the package and its dependencies, on a machine
that does nothing else. Times are medians of fresh interpreters whose modules are compiled to
bytecode already. Owns no opinion about a package: that is in docs/decisions.md.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "size.md"
ROUNDS = 7
HEADER = ("package", "MB", "with what only it needs", "import, ms", "memory, MB", "imported by")

_MEASURE = """
import sys, time
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before, began = rss(), time.process_time()
import {module}
print(time.process_time() - began, rss() - before)
"""
# All that a daemon imports before it serves; then its memory: resident, and what it has written.
_DAEMON = """
import time
began = time.process_time()
from tunnelctl.cli.setup.daemon import quick_imports
with quick_imports(server_only=True):
    import tunnelctl.daemon.process
took = time.process_time() - began
lines = dict(line.split()[:2] for line in open("/proc/self/smaps_rollup") if " kB" in line)
print(took, int(lines["Rss:"]) * 1024, int(lines["Private_Dirty:"]) * 1024)
"""
# The module that is imported of each package, and by whom.
USES = {
    "aiohttp": ("aiohttp.web", "daemon, dashboard"),
    "bcrypt": ("bcrypt", "daemon, for a key with a passphrase"),
    "click": ("click", "every command"),
    "cryptography": ("cryptography.hazmat.primitives.ciphers.aead", "daemon, `tunnelctl.open`"),
    "h11": ("h11", "daemon, with `inspect: http`"),
    "paramiko": ("paramiko", "daemon, `tunnelctl.open`"),
    "pydantic": ("pydantic.main", "daemon, `up`, `tunnelctl.open`"),
    "pyyaml": ("yaml", "daemon, `up`, `tunnelctl.open`"),
    "rich": ("rich.live", "`ps --watch`, `top`"),
    "sshtunnel": ("sshtunnel", "`tunnelctl.sshtunnel`"),
    "wsproto": ("wsproto", "daemon, with `inspect: http`"),
}

_TEXT = """\
# Size

Measured on {date} with Python {python} by `python -m tools.make_sizes`. Sizes are those of the
installed files, without bytecode; the second one includes packages that no other one needs. Import
times are processor time, medians of {rounds} fresh interpreters. Each package is imported alone, so
those that share modules do not add up.

{table}

Several of them need {shared}. tunnelctl itself has {own:.1f} MB; all together have
{total:.1f} MB.
[architecture.md](architecture.md#dependencies) has the purpose of each package.

A daemon imports all that it needs in {start:.0f} ms of processor time. It then has {resident:.0f}
MB in memory: {written:.0f} MB of its own, and files that are shared with other processes.

## Extras

What each extra adds; together they add {added:.1f} MB. The Debian package, the single file and the
image have all of them ([install.md](install.md) has their sizes), since a user could not add one
there.

{extras}
"""


@dataclass(frozen=True)
class Row:
    """One direct dependency: megabytes, of it alone and with the packages that only it needs;
    seconds and bytes of its import."""

    name: str
    alone: float
    together: float
    seconds: float
    memory: float


def direct() -> list[str]:
    """The direct dependencies, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return sorted(canonicalize_name(Requirement(text).name) for text in project["dependencies"])


def rows() -> Iterator[Row]:
    """A row for each direct dependency, the largest first."""
    names = direct()
    needs = {name: closure([name]) for name in names}
    measured = []
    for name in names:
        of_others = set().union(*(needs[other] for other in names if other != name))
        together = sum(map(megabytes, needs[name] - of_others | {name}))
        seconds, memory = imported(name)
        measured.append(Row(name, megabytes(name), together, seconds, memory))
    yield from sorted(measured, key=lambda row: -row.together)


def shared() -> str:
    """The packages that more than one direct dependency needs, the largest first, with their
    megabytes."""
    names = direct()
    needs = [closure([name]) for name in names]
    several = {name for name in set().union(*needs) if sum(name in each for each in needs) > 1}
    sizes = sorted((-megabytes(name), name) for name in several.difference(names))
    return ", ".join(f"{name} ({-size:.1f} MB)" for size, name in sizes)


def extra_packages(extra: str) -> set[str]:
    """The packages that an extra adds to an installation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["optional-dependencies"][extra]
    roots = [canonicalize_name(Requirement(text).name) for text in asked]
    return closure(roots) - closure(direct())


def extras_table() -> str:
    """A line for each extra: its name, its packages and their megabytes."""
    lines = ["| extra | MB | packages |", "|---|--:|---|"]
    for extra in EXTRAS:
        packages = extra_packages(extra)
        size = sum(map(megabytes, packages))
        lines.append(f"| {extra} | {size:.1f} | {', '.join(sorted(packages))} |")
    return "\n".join(lines)


def closure(names: Iterable[str]) -> set[str]:
    """The packages of these names, and all that they require here, without extras."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            for text in distribution(name).requires or ():
                wanted = Requirement(text)
                if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                    waiting.append(canonicalize_name(wanted.name))
    return found


def megabytes(name: str) -> float:
    """The size of the installed files of one package."""
    return sum(_sizes(distribution(name))) / 1e6


def _sizes(package: Distribution) -> Iterator[int]:
    for file in package.files or ():
        path = Path(str(file.locate()))
        if path.suffix != ".pyc" and path.exists():
            yield path.stat().st_size


def imported(name: str) -> tuple[float, float]:
    """The median of the seconds, and of the bytes, that importing a package takes."""
    module, _ = USES[name]
    seconds, memory = _medians(_MEASURE.format(module=module))
    return seconds, memory


def _medians(program: str) -> list[float]:
    """The medians of the numbers that a program prints."""
    asked = [sys.executable, "-c", program]
    samples = [
        subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(ROUNDS + 1)
    ]
    # The first one may write bytecode.
    return [statistics.median(map(float, column)) for column in zip(*samples[1:], strict=True)]


def page() -> str:
    """The whole page."""
    table = [f"| {' | '.join(HEADER)} |", "|---|--:|--:|--:|--:|---|"]
    for row in rows():
        cells = (row.name, f"{row.alone:.1f}", f"{row.together:.1f}", f"{row.seconds * 1e3:.0f}",
                 f"{row.memory / 1e6:.0f}", USES[row.name][1])  # fmt: skip
        table.append(f"| {' | '.join(cells)} |")
    own = sum(path.stat().st_size for path in (ROOT / "tunnelctl").rglob("*") if _is_ours(path))
    total = own / 1e6 + sum(map(megabytes, closure(direct())))
    start, resident, written = _medians(_DAEMON)
    added = set().union(*map(extra_packages, EXTRAS))
    return _TEXT.format(
        date=datetime.now(UTC).date(),
        python=sys.version.split()[0],
        rounds=ROUNDS,
        table="\n".join(table),
        shared=shared(),
        own=own / 1e6,
        total=total,
        added=sum(map(megabytes, added)),
        start=start * 1e3,
        resident=resident / 1e6,
        written=written / 1e6,
        extras=extras_table(),
    )


def _is_ours(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc"


if __name__ == "__main__":
    PAGE.write_text(page())
