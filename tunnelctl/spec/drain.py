"""How long connections may take to end when a profile is taken down, if nobody says."""

from __future__ import annotations

from typing import Final

DRAIN: Final = 10.0  # seconds
