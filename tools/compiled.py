"""Run the tests of the data path against the wheel in which it is compiled.

    python -m tools.compiled               the tests of FOLDERS and COPIES
    python -m tools.compiled PYTEST ARG    other tests

Makes sure that the compiled modules are tested: the wheel is built and installed into a new
environment, which also has the packages of the current one, and the tests are copied to a folder
without the source of tunnelctl. tests/conftest.py fails a run that finds another tunnelctl
(TUNNELCTL_EXPECT_COMPILED). If nothing can be compiled, it prints the reason in one line and exits
with 5, as pytest does without tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from bootstrap import CHECKS, NOTHING_COMPILED
from hatch_build import why_pure

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("wire", "net", "ssh", "forward", "e2e")
# What is shown to the inspector is copied by compiled modules.
COPIES = ("inspect/test_bytes.py", "inspect/test_conversation.py", "inspect/test_store.py")
# As bootstrap.py runs the whole suite.
PYTEST = ("-m", *CHECKS[-1])


def main(arguments: list[str]) -> int:
    """Build, install and test; returns pytest's exit code."""
    reason = why_pure()
    if reason is not None:
        print(f"the compiled data path is not tested, {reason}", flush=True)
        return NOTHING_COMPILED
    with tempfile.TemporaryDirectory(prefix="tunnelctl-compiled-") as made:
        Path(made).chmod(0o755)  # some tests run as another user
        python = install(build(Path(made) / "wheel"), Path(made) / "venv")
        tests = copy(Path(made) / "tree")
        asked = arguments or [f"tests/{name}" for name in (*FOLDERS, *COPIES)]
        environ = {**os.environ, "TUNNELCTL_EXPECT_COMPILED": "1"}
        # Long waits are tested once, in the pure suite.
        for name in ("TUNNELCTL_HALF_CLOSED_SECONDS", "TUNNELCTL_CANARY_SECONDS"):
            environ.pop(name, None)
        # Its folders would be searched before the wheel.
        environ.pop("PYTHONPATH", None)
        command = [str(python), *PYTEST, *asked]
        return subprocess.run(command, cwd=tests, env=environ, check=False).returncode


def build(folder: Path) -> Path:
    """Build the wheel with the build tools of this environment, which are pinned."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.iterdir()
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install it into a new environment; returns the Python of that."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True)
    # Python does not read .pth files in a folder that is added this way, so an editable
    # installation of tunnelctl there, which works by such a file, is not found.
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
