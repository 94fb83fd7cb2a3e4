"""The environment of a test, as a command line of this process would send it."""

from __future__ import annotations

import os

from tunnelctl.spec.environment import Environment


def here(**more: str) -> Environment:
    """That of this process now, after what `monkeypatch` did to it, with `more`."""
    return Environment({**Environment.from_bytes(os.environb), **more})
