"""The man page is written from the tree of commands, is up to date, and man can read it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from typing import Any

import click
import pytest

from docs import make_man
from tests.docs.pages import ROOT
from tunnelctl.cli.main import tunnelctl


def test_the_page_is_what_the_commands_say() -> None:
    assert make_man.PAGE.read_text() == make_man.page(), "python -m docs.make_man"


def test_the_wheel_brings_it_where_man_looks() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {"man/tunnelctl.1": "share/man/man1/tunnelctl.1"}


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_man_shows_it() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-l", str(make_man.PAGE)],
        env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for name in tunnelctl.list_commands(click.Context(tunnelctl)):
        assert f"\n   {name}\n" in done.stdout, name
    assert "--wait-timeout" in done.stdout
    assert "service install" in done.stdout
    assert "EXIT STATUS" in done.stdout
