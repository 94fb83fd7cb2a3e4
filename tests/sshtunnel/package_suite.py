"""Makes the sshtunnel package's own tests run against our drop-in; loaded as a pytest plugin.

Changes nothing of what they assert: `import sshtunnel` gives ours, `import mock` the standard
library's, the key of their server is one that is long enough to be accepted, and the ports that
they want free are free, where theirs are drawn by chance.
"""

from __future__ import annotations

import runpy
import sys
import unittest.mock
from pathlib import Path

import paramiko
import pytest

import tunnelctl.sshtunnel

sys.modules["sshtunnel"] = tunnelctl.sshtunnel
sys.modules["mock"] = unittest.mock
# They listen to the logger of that name, as programs do that use the package.
tunnelctl.sshtunnel.__name__ = "sshtunnel"
# By its path: `tests` is their package here.
free_port = runpy.run_path(str(Path(__file__).parents[1] / "support/ports.py"))["free_port"]


@pytest.fixture(autouse=True)
def _their_key(request: pytest.FixtureRequest) -> None:
    """Their server knows its key by its MD5."""
    key = paramiko.RSAKey.from_private_key_file(str(Path(request.path).with_name("testrsa.key")))
    request.module.FINGERPRINTS["ssh-rsa"] = key.get_fingerprint()


@pytest.fixture(autouse=True)
def _free_ports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(request.cls, "randomize_eport"):
        monkeypatch.setattr(request.cls, "randomize_eport", lambda _self: free_port())
