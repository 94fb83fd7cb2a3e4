"""The command that a user is given for a missing extra fits the environment."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASK = "from tunnelctl.home.extras import install_command; print(install_command('top'))"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("{packages}/pip.py", "{python} -m pip install"),
        ("{environment}/pipx_metadata.json", "pipx inject work"),
        ("{environment}/uv-receipt.toml", "uv pip install --python {python}"),
    ],
)
def test_an_extra_is_installed_by_what_made_the_environment(
    tmp_path: Path, file: str, words: str
) -> None:
    environment = tmp_path / "work"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    (packages,) = environment.glob("lib/python*/site-packages")
    Path(file.format(packages=packages, environment=environment)).touch()
    asked = [str(python), "-c", ASK]
    said = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert said == f"{words.format(python=python)} 'tunnelctl[top]'\n"
