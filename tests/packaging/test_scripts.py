"""The programs of packaging/ are for the shell that they name; releases and people run them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    path
    for folder in ("packaging", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and os.access(path, os.X_OK)
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_shell_can_read_it_and_it_stops_at_an_error(script: Path) -> None:
    text = script.read_text()
    shell = text.partition("\n")[0].removeprefix("#!").removeprefix("/usr/bin/env ")
    subprocess.run([*shell.split(), "-n", str(script)], check=True)
    assert "\nset -e" in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_must_not_succeed_stops_it(script: Path) -> None:
    """`set -e` ignores a command after `!` (The Set Builtin, in bash's manual)."""
    assert not re.findall(r"^ *! .*", script.read_text(), re.MULTILINE)
