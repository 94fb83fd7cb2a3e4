"""Durations and sizes."""

from __future__ import annotations

import pytest

from tunnelctl.config.values.quantities import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("15s", 15.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("2d", 172800.0),
        ("1m500ms", 60.5),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "15", "s", "15 s", "-1s", "1y", "1h30", "15S", "1e9s", "٣s", "9" * 400 + "h"]
)
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


def test_a_duration_ends_some_time() -> None:
    with pytest.raises(ValueError, match="ten years"):
        parse_duration("999999999w")


@pytest.mark.parametrize(
    ("text", "size"), [("1G", 1 << 30), ("500M", 500 << 20), ("64k", 65536), ("65536", 65536)]
)
def test_a_size_is_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "1T", "-1", "1.5G", "1 G", "9" * 400])
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number of bytes"):
        parse_size(text)
