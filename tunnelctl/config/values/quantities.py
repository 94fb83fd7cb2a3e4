"""Durations and sizes as profiles write them: `1h30m`, `500ms`, `1G`.

Owns the units. Pure.
"""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|[smhdw]))+")
_PART = re.compile(r"([0-9.]+)(ms|[smhdw])")
_MAX_SECONDS = 10 * 365 * _UNITS["d"]

# ssh_config(5) RekeyLimit: K, M and G are powers of 1024, in either case.
_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"([0-9]{1,18})([kmg]?)", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds in a text such as `15s`, `1h30m` or `500ms`; also `d` and `w` of ssh_config(5).

    Raises:
        ValueError: with a sentence that says what is wrong with the text.
    """
    if _DURATION.fullmatch(text) is None:
        raise ValueError("must be a duration such as 500ms, 15s, 5m or 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > _MAX_SECONDS:
        raise ValueError("is longer than ten years")
    return seconds


def parse_size(text: str) -> int:
    """Bytes in a text such as `1G`, `500M`, `64K` or `65536`.

    Raises:
        ValueError: with a sentence that says what is wrong with the text.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError("must be a number of bytes such as 1G, 500M or 64K")
    return int(found[1]) * _SIZE_UNITS[found[2].lower()]
