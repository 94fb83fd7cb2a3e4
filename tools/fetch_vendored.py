"""Fetches the libraries of the dashboard's page, and the checker of its tests, from npm's packages.

    python -m tools.fetch_vendored

Run in the project's folder; needs npm. Owns the list of these files: package, version, license,
where each file is in it and where it goes, unchanged. `LISTED` beside them has the list, for the
bill of materials; `CHECKSUMS` has their SHA-256 (sha256sum(1)), which a test compares.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "tunnelctl" / "dashboard" / "static" / "vendor"
TESTS = ROOT / "tests" / "dashboard" / "vendor"
CHECKSUMS = "SHA256SUMS"
LISTED = "packages.json"


@dataclass(frozen=True, slots=True)
class Package:
    """A package of npm: the files of it that we need, each with its name here."""

    name: str
    version: str
    license: str  # an identifier of SPDX
    folder: Path
    files: dict[str, str]


PACKAGES = (
    # The htm package has preact and its hooks in one module.
    Package(
        "htm",
        "3.1.1",
        "Apache-2.0",
        PAGE,
        {"preact/standalone.module.js": "htm-preact.js", "LICENSE": "htm-LICENSE.txt"},
    ),
    Package("preact", "10.29.8", "MIT", PAGE, {"LICENSE": "preact-LICENSE.txt"}),
    Package(
        "uplot",
        "1.6.32",
        "MIT",
        PAGE,
        {
            "dist/uPlot.iife.min.js": "uPlot.js",
            "LICENSE": "uPlot-LICENSE.txt",
        },
    ),
    Package(
        "axe-core",
        "4.14.1",
        "MPL-2.0",
        TESTS,
        {"axe.min.js": "axe.js", "LICENSE": "axe-LICENSE.txt"},
    ),
)


def fetch(package: Package) -> None:
    """Write the files of a package."""
    package.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        wanted = f"{package.name}@{package.version}"
        command = ["npm", "pack", "--silent", wanted, "--pack-destination", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as files:
            for path, name in package.files.items():
                member = files.extractfile(f"package/{path}")
                assert member is not None, path
                (package.folder / name).write_bytes(member.read())


def listed(folder: Path) -> str:
    """The content of LISTED for a folder."""
    found = [
        {"name": package.name, "version": package.version, "license": package.license}
        for package in PACKAGES
        if package.folder == folder
    ]
    return json.dumps(found, indent=2) + "\n"


def checksums(folder: Path) -> str:
    """The lines of CHECKSUMS for the files of a folder."""
    paths = sorted(path for path in folder.iterdir() if path.name != CHECKSUMS)
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths
    )


def main() -> int:
    """Fetch everything anew; returns the exit code."""
    for package in PACKAGES:
        fetch(package)
    for folder in sorted({package.folder for package in PACKAGES}):
        (folder / LISTED).write_text(listed(folder))
        (folder / CHECKSUMS).write_text(checksums(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
