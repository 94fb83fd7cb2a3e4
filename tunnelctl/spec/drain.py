"""The default time for connections to end when a profile is taken down."""

from __future__ import annotations

from typing import Final

DRAIN: Final = 10.0  # seconds
