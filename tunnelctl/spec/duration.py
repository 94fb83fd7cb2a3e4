"""Durations as people write them: `500ms`, `15s`, `5m`, `1h30m`. Pure."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds; one number with its unit after the other, e.g. `1h30m`. A bare `0` is zero.

    Raises:
        ValueError: with a sentence that says what a duration looks like.
    """
    if text == "0":
        return 0.0
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a duration such as 500ms, 15s, 5m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
