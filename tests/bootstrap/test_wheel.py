"""The wheel, with and without a compiler: hatch_build.py on a tree of two modules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hatch_build import why_pure

ROOT = Path(__file__).resolve().parents[2]
# Both are compiled in seconds; the rest of the data path would take a minute.
MODULES = ("__init__.py", "clock.py")
SAYS = """
import tunnelctl
from tunnelctl import clock
print(tunnelctl.is_compiled(), hasattr(clock, "EDITED"))
"""

pytestmark = pytest.mark.timeout(600)
needs_compiler = pytest.mark.skipif(why_pure() is not None, reason="nothing can be compiled here")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A clone with little in it."""
    folder = tmp_path / "clone"
    package = folder / "tunnelctl"
    package.mkdir(parents=True)
    (folder / "man").mkdir()
    for name in MODULES:
        shutil.copy(ROOT / "tunnelctl" / name, package)
    for name in ("pyproject.toml", "README.md", "hatch_build.py"):
        shutil.copy(ROOT / name, folder)
    return folder


def build(tree: Path, into: str, **environ: str) -> tuple[Path, str]:
    """The wheel that comes of it, and what was said meanwhile."""
    pytest.importorskip("hatchling")
    folder = tree.with_name(into)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=tree,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (wheel,) = folder.iterdir()
    return wheel, done.stdout


def files(tree: Path) -> set[str]:
    """What lies there, but for the caches of Python."""
    found = (path for path in tree.rglob("*") if "__pycache__" not in path.parts)
    return {str(path.relative_to(tree)) for path in found}


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"TUNNELCTL_PURE": "1"}, "TUNNELCTL_PURE is set"),
        ({"CC": "/nowhere/cc"}, "there is no C compiler (/nowhere/cc)"),
        ({"CC": "false"}, "there are no headers of Python for C"),
    ],
)
def test_a_wheel_is_pure_where_nothing_can_be_compiled_and_says_why(
    tree: Path, environ: dict[str, str], why: str
) -> None:
    wheel, said = build(tree, "wheel", **environ)
    assert wheel.name == "tunnelctl-0.1.0-py3-none-any.whl"
    (note,) = [line for line in said.splitlines() if "pure Python" in line]
    assert why in note


@needs_compiler
def test_compiled_files_never_come_before_the_source_that_is_edited(tree: Path) -> None:
    before = files(tree)
    wheel, _ = build(tree, "wheel")
    assert f"-cp{sys.version_info[0]}{sys.version_info[1]}-" in wheel.name
    assert files(tree) == before
    assert build(tree, "again")[0].read_bytes() == wheel.read_bytes()

    venv = tree.with_name("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = str(venv / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True)
    assert ask(python).split() == ["True", "False"]

    # As pip does for `-e`, with the backend of this environment.
    backend = "import hatchling.build; hatchling.build.build_editable('../editable')"
    tree.with_name("editable").mkdir()
    subprocess.run([sys.executable, "-c", backend], cwd=tree, check=True)
    (editable,) = tree.with_name("editable").iterdir()
    subprocess.run([*pip, "--force-reinstall", str(editable)], check=True)
    with (tree / "tunnelctl" / "clock.py").open("a") as source:
        source.write("EDITED = True\n")
    assert ask(python).split() == ["False", "True"]


def ask(python: str) -> str:
    """Whether the package of that environment is compiled, and whether it has what was edited."""
    asked = [python, "-P", "-c", SAYS]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout
