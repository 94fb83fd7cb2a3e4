"""Compares ways to make one file of tunnelctl: size, start-up, and what they need.

    python -m tools.onefile_figures OUR_FILE INSTALLED_COMMAND

Prints the table of docs/install.md. shiv, pex and PyInstaller's own single file are built here from
the lock and the source, in pure Python. The times are those of `tunnelctl ps` without a daemon:
medians of starts that were made in turns.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tools.onefile import LOCK, OPTIONS, PARTS, ROOT

RUNS = 15
TOOLS = ("shiv==1.0.8", "pex")  # compared only, and in no lock


@dataclass
class Form:
    """One form of tunnelctl: its file, what that needs, an empty home for it, and for each `ps`
    the seconds and those of its CPU."""

    name: str
    file: Path
    needs: str
    home: Path
    starts: list[tuple[float, float]] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    """Build the others, measure all, print the table."""
    ours, installed = (Path(word).resolve() for word in arguments)
    print("| form | size, MB | first start, ms | `ps`, ms | CPU of `ps`, ms | needs |")
    print("|---|--:|--:|--:|--:|---|")
    with tempfile.TemporaryDirectory(prefix="tunnelctl-figures-") as folder:
        made = Path(folder)
        candidates = {
            "installed": (installed, "Python"),
            "make onefile": (ours, "sh, tar, gzip"),
            **build(made),
        }
        forms = [
            Form(name, file, needs, Path(tempfile.mkdtemp(dir=made)))
            for name, (file, needs) in candidates.items()
        ]
        # In turns, so that what else the machine does is the same for all of them.
        for _ in range(RUNS + 1):
            for form in forms:
                form.starts.append(start(form.file, form.home))
        for form in forms:
            print(row(form))
    return 0


def build(made: Path) -> dict[str, tuple[Path, str]]:
    """The other forms, and what each needs on the machine that runs it."""
    environment = made / "environment"
    _run(sys.executable, "-m", "venv", environment)
    bin_ = environment / "bin"
    pip = (bin_ / "python", "-m", "pip", "install", "-q")
    locks = [word for name in ("all", "build", "release") for word in ("-r", LOCK / f"{name}.txt")]
    _run(*pip, "--require-hashes", *locks)
    _run(*pip, *TOOLS)
    pure = {**os.environ, "TUNNELCTL_PURE": "1"}
    _run(bin_ / "hatchling", "build", "-t", "wheel", "-d", made, environ=pure)
    (wheel,) = made.glob("*.whl")
    _run(*pip, "--no-deps", wheel)
    same_python = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    shiv, pex, single = made / "shiv", made / "pex", made / "single"
    packages = made / "packages"
    _run(*pip, "--target", packages, "--require-hashes", "-r", LOCK / "all.txt")
    _run(*pip, "--target", packages, "--no-deps", wheel)
    _run(bin_ / "shiv", "--site-packages", packages, "-c", "tunnelctl", "-o", shiv)
    _run(bin_ / "pex", "--sources-directory", packages, "-m", "tunnelctl", "-o", pex)
    _run(
        *(bin_ / "pyinstaller", *OPTIONS, "--onefile"),
        *("--distpath", single, "--workpath", made / "work", "--specpath", made),
        PARTS / "program.py",
        folder=made,
    )
    return {
        "PyInstaller --onefile": (single / "tunnelctl", "nothing"),
        "shiv": (shiv, same_python),
        "pex": (pex, same_python),
    }


def row(form: Form) -> str:
    """The line of the table for one form, from its starts."""
    size = f"{form.file.stat().st_size / 1e6:.0f}" if form.name != "installed" else "-"
    first, *others = form.starts
    wall = statistics.median(seconds for seconds, _ in others) * 1000
    cpu = statistics.median(seconds for _, seconds in others) * 1000
    cells = (size, f"{first[0] * 1000:.0f}", f"{wall:.0f}", f"{cpu:.0f}", form.needs)
    return f"| {form.name} | {' | '.join(cells)} |"


def start(file: Path, home: Path) -> tuple[float, float]:
    """Seconds of one `ps`, and of its CPU."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([file, "ps"], env=environ, capture_output=True, check=False)
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 3, done.stderr  # the daemon is not running
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, cpu


def _run(*words: object, environ: dict[str, str] | None = None, folder: Path = ROOT) -> None:
    subprocess.run(
        [str(word) for word in words], cwd=folder, env=environ, stdout=sys.stderr, check=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
