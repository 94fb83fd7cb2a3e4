"""The man pages are written from the tree of commands, are up to date, and man can read them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from tests.docs.pages import ROOT
from tools import make_man
from tunnelctl.cli.main import tunnelctl

NAMES = tunnelctl.list_commands(click.Context(tunnelctl))


def test_the_pages_are_what_the_commands_say() -> None:
    there = {path.name: path.read_text() for path in make_man.FOLDER.iterdir()}
    assert there == make_man.pages(), "python -m tools.make_man"
    assert {f"tunnelctl-{name}.1" for name in NAMES} | {"tunnelctl.1"} == set(there)


def test_the_wheel_brings_them_where_man_looks() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {"man": "share/man/man1"}


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_man_shows_every_page() -> None:
    shown = {path.stem: shown_by_man(path) for path in make_man.FOLDER.iterdir()}
    for name in NAMES:
        assert f"tunnelctl-{name}(1)" in shown["tunnelctl"], name
        assert f"tunnelctl {name}" in shown[f"tunnelctl-{name}"], name
    assert "EXIT STATUS" in shown["tunnelctl"]
    assert "--wait-timeout" in shown["tunnelctl-up"]
    assert "tunnelctl service install" in shown["tunnelctl-service"]
    assert "--dry-run" in shown["tunnelctl-service"]


def shown_by_man(path: Path) -> str:
    """What a reader sees; man must have nothing to complain of."""
    done = subprocess.run(
        ["man", "--warnings", "-l", str(path)],
        env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), path
    return done.stdout
