"""The version of the control API's documents (docs/api.md), for the daemon and its clients."""

from __future__ import annotations

from typing import Final

API_VERSION: Final = 1
