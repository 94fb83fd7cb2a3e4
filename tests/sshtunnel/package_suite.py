"""Makes the sshtunnel package's own tests run against our drop-in; loaded as a pytest plugin.

Changes nothing of what they assert: `import sshtunnel` gives ours, `import mock` the standard
library's, and the key of their server is one that is long enough to be accepted.
"""

from __future__ import annotations

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


@pytest.fixture(autouse=True)
def _their_key(request: pytest.FixtureRequest) -> None:
    """Their server knows its key by its MD5."""
    key = paramiko.RSAKey.from_private_key_file(str(Path(request.path).with_name("testrsa.key")))
    request.module.FINGERPRINTS["ssh-rsa"] = key.get_fingerprint()
