"""Builds one executable file that needs no Python: `make onefile`, or `python -m tools.onefile`.

PyInstaller collects the interpreter, the locked packages and the compiled data path in a folder;
packaging/onefile/start.sh unpacks that folder once. PyInstaller's own form of one file unpacks
everything at each start; docs/install.md has the figures (`python -m tools.onefile_figures`).

It runs on systems with the C library of the building machine or a newer one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from gzip import GzipFile
from io import BytesIO
from pathlib import Path

from hatch_build import DATE, source_date
from tunnelctl import __version__

ROOT = Path(__file__).resolve().parents[1]
PARTS = ROOT / "packaging" / "onefile"
LOCK = ROOT / "requirements"
NAME = "tunnelctl"
# Imported by name, or by compiled code, which PyInstaller cannot read.
WHOLE = (
    *(NAME, "aiohttp", "bcrypt", "cryptography", "keyring", "paramiko", "pydantic"),
    *("prometheus_client", "rich", "segno", "textual", "yaml"),
)
# Of the environment that builds; pydantic and others have modules for these.
NOT = ("hatchling", "mypy", "pip", "pluggy", "pytest", "setuptools")
# Of PyInstaller; tools/onefile_figures.py compares with its other form.
OPTIONS = (
    *("--noconfirm", "--log-level", "WARN", "--strip", "--name", NAME),
    *("--collect-data", NAME, "--collect-data", "textual", "--copy-metadata", "keyring"),
    *(word for package in WHOLE for word in ("--collect-submodules", package)),
    *(word for package in NOT for word in ("--exclude-module", package)),
)


def main(arguments: list[str]) -> int:
    """Build the file and print its path."""
    parser = argparse.ArgumentParser(prog="python -m tools.onefile", description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "dist", help="default: dist")
    options = parser.parse_args(arguments)
    os.environ.setdefault(DATE, source_date(ROOT) or str(int(time.time())))
    with tempfile.TemporaryDirectory(prefix="tunnelctl-onefile-") as made:
        python = make_environment(Path(made))
        folder = collect(python, Path(made))
        options.into.mkdir(parents=True, exist_ok=True)
        print(pack(folder, options.into / NAME))
    return 0


def make_environment(made: Path) -> Path:
    """An environment with tunnelctl, its packages and PyInstaller; returns its Python."""
    environment = made / "environment"
    python = environment / "bin" / "python"
    _run(sys.executable, "-m", "venv", environment)
    pip = (python, "-m", "pip", "install", "-q")
    files = [
        word for name in ("all", "compile", "release") for word in ("-r", LOCK / f"{name}.txt")
    ]
    _run(*pip, "--require-hashes", *files)
    _run(python, "-m", "hatchling", "build", "-t", "wheel", "-d", made / "wheel")
    _run(*pip, "--no-deps", *(made / "wheel").iterdir())
    return python


def collect(python: Path, made: Path) -> Path:
    """The folder with the program and all that it needs."""
    # Not in the project's folder: Python would find the source there before what is installed.
    _run(
        *(python, "-m", "PyInstaller", *OPTIONS),
        *("--onedir", "--contents-directory", "lib"),
        *("--distpath", made / "collected", "--workpath", made / "work", "--specpath", made),
        *("--hidden-import", f"{NAME}__mypyc"),
        *("--add-data", f"{ROOT / 'man'}:share/man/man1"),
        PARTS / "program.py",
        folder=made,
    )
    return made / "collected" / NAME


def pack(folder: Path, into: Path) -> Path:
    """Write the script and the packed folder into one executable file; returns its path."""
    packed = BytesIO()
    with (
        GzipFile(fileobj=packed, mode="wb", compresslevel=9, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        for path in sorted(folder.rglob("*")):
            archive.add(path, str(path.relative_to(folder)), recursive=False, filter=_plain)
    content = packed.getvalue()
    script = (PARTS / "start.sh").read_text()
    script = script.replace("@VERSION@", __version__)
    script = script.replace("@DIGEST@", hashlib.sha256(content).hexdigest()[:12])
    # tail(1) counts from 1. The number has as many digits as its place holder has characters.
    script = script.replace("@OFFSET@", f"{len(script.encode()) + 1:08}")
    into.write_bytes(script.encode() + content)
    into.chmod(0o755)
    return into


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what differs from one build to another."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(os.environ[DATE])
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def _run(*words: object, folder: Path = ROOT) -> None:
    """Run a command in a folder."""
    subprocess.run([str(word) for word in words], cwd=folder, stdout=sys.stderr, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
