"""A user's ssh_config, and the two ways to read it: OpenSSH's client and our own reader."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.config.conftest import Folder

SSH = shutil.which("ssh") or ""
needs_ssh = pytest.mark.skipif(not SSH, reason="OpenSSH's client is not installed")
WAYS = [
    pytest.param({"PATH": os.defpath + ":/usr/bin:/bin"}, marks=needs_ssh, id="client"),
    pytest.param({"PATH": "/nonexistent"}, id="own reader"),
]


def configure(folder: Folder, text: str) -> Path:
    """Write the user's ssh_config."""
    path = folder.home / ".ssh" / "config"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path
