"""The command that a user is given for a missing extra fits the environment."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASK = "from tunnelctl.home.extras import install_command; print(install_command('top'))"


@pytest.mark.parametrize("has_pip", [True, False])
def test_an_extra_is_installed_with_what_the_environment_has(tmp_path: Path, has_pip: bool) -> None:
    """uv makes environments without pip."""
    venv.create(tmp_path, symlinks=True)
    python = tmp_path / "bin" / "python"
    (packages,) = tmp_path.glob("lib/python*/site-packages")
    if has_pip:
        (packages / "pip.py").touch()
    asked = [str(python), "-c", ASK]
    said = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    if has_pip:
        assert said == f"{python} -m pip install 'tunnelctl[top]'\n"
    else:
        assert said == f"uv pip install --python {python} 'tunnelctl[top]'\n"
