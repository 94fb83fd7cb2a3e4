"""Run the tests of the data path against the wheel in which it is compiled.

    python -m tools.compiled               the tests of FOLDERS
    python -m tools.compiled PYTEST ARG    what pytest is asked for instead

Owns how it is made sure that the compiled modules are what is tested: the wheel is built and
installed into an environment of its own, which has the packages of the one that runs this, and the
tests are copied to a folder where no source of tunnelctl stands beside them. tests/conftest.py ends
a run that finds another one (TUNNELCTL_EXPECT_COMPILED). Where nothing can be compiled it says why
in one line, and that is no failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from hatch_build import why_pure

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("wire", "net", "ssh", "forward", "e2e")
# As bootstrap.py runs the whole suite.
PYTEST = ("-m", "pytest", "-n", "4", "--dist", "worksteal")


def main(arguments: list[str]) -> int:
    """Build, install and test; pytest's exit code."""
    reason = why_pure()
    if reason is not None:
        print(f"the compiled data path is not tested, {reason}", flush=True)
        return 0
    with tempfile.TemporaryDirectory(prefix="tunnelctl-compiled-") as made:
        python = install(build(Path(made) / "wheel"), Path(made) / "venv")
        tests = copy(Path(made) / "tree")
        asked = arguments or [f"tests/{folder}" for folder in FOLDERS]
        environ = {**os.environ, "TUNNELCTL_EXPECT_COMPILED": "1"}
        # What shells left of the environment that runs this would be found first.
        environ.pop("PYTHONPATH", None)
        command = [str(python), *PYTEST, *asked]
        return subprocess.run(command, cwd=tests, env=environ, check=False).returncode


def build(folder: Path) -> Path:
    """Build the wheel with the tools of this environment, as the lock has them."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.iterdir()
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install it into an environment of its own; the Python of that."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True)
    # A folder that is added so has no say of its own: the .pth file in it that leads to the
    # source, by which an editable installation works, is not read.
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    line = sysconfig.get_path("purelib") + "\n"
    Path(packages, "beneath.pth").write_text(line, encoding="utf-8")
    return python


def copy(folder: Path) -> Path:
    """Copy the project without the package, caches and environments."""
    left = ("tunnelctl", ".*", "__pycache__", "*.egg-info", "dist")

    def ignored(where: str, names: list[str]) -> set[str]:
        return shutil.ignore_patterns(*left)(where, names) if Path(where) == ROOT else set()

    shutil.copytree(ROOT, folder, ignore=ignored, symlinks=True)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
