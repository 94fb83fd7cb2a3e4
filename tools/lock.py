"""Writes requirements/*.txt: every package that is installed, pinned, with its hashes.

    python3 tools/lock.py              keep the versions that still fit pyproject.toml
    python3 tools/lock.py --upgrade    take the newest ones that fit

Owns the list of these files and the content of each. All come from one resolution, for every Python
that pyproject.toml allows and every system. It is made by uv, because pip-compile cannot make one
lock for several Pythons; the oldest pip that we support installs from it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

UV = "uv==0.13.9"
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
# `build` has the build requirements of the package.
EXTRAS = ("keyring", "metrics", "qr", "top")  # those that a user can install

HEADER = """\
# {purpose}
# Made by tools/lock.py, with hashes; change pyproject.toml and run it again.
"""
PURPOSES = {
    "test": "Installed by `bootstrap.py test`: tunnelctl's dependencies, its extras, the checks.",
    "run": "The dependencies of tunnelctl, installed by bootstrap.py.",
    "all": "The same with every extra, for the Debian package, the single file and the image.",
    "build": "The build requirements of the package in pure Python.",
    "compile": "The build requirements with a compiled data path, installed by the Dockerfile.",
    "release": "What makes a release: make wheels, make onefile, .ci/audit.",
}


def main(arguments: list[str]) -> int:
    """Write the files; returns the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floor = re.search(r"[0-9.]+", project["project"]["requires-python"])
    assert floor is not None
    build = project["build-system"]["requires"]
    hooks = project["tool"]["hatch"]["build"]["hooks"]
    compiling = [*build, *hooks["custom"]["compiler"]]
    extras = ("pyproject.toml", *(word for extra in EXTRAS for word in ("--extra", extra)))
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", UV], check=True)
        given = {name: Path(folder) / f"{name}.in" for name in ("build", "compile", "release")}
        given["build"].write_text("\n".join(build), encoding="utf-8")
        given["compile"].write_text("\n".join(compiling), encoding="utf-8")
        releasing = project["dependency-groups"]["release"]
        given["release"].write_text("\n".join(releasing), encoding="utf-8")
        same = ("--constraint", str(FOLDER / "test.txt"))
        sources = {
            "test": (*extras, "--extra", "test", str(given["compile"]), *arguments),
            "run": ("pyproject.toml", *same),
            "all": (*extras, *same),
            "build": (str(given["build"]), *same),
            "compile": (str(given["compile"]), *same),
            "release": (str(given["release"]), *same),
        }
        for name, words in sources.items():
            file = FOLDER / f"{name}.txt"
            options = ("--universal", "--python-version", floor[0], "--generate-hashes")
            output = ("--no-header", "--no-annotate", "--quiet", "--output-file", str(file))
            compiler = [f"{folder}/bin/uv", "pip", "compile"]
            subprocess.run([*compiler, *options, *output, *words], cwd=ROOT, check=True)
            locked = file.read_text(encoding="utf-8")
            file.write_text(HEADER.format(purpose=PURPOSES[name]) + locked, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
