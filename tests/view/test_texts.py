"""The texts of amounts, durations and curves."""

from __future__ import annotations

import pytest

from tunnelctl.view.texts import (
    bytes_text,
    curve_text,
    milliseconds_text,
    seconds_text,
    took_text,
    transfer_text,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (9949, "9.9k"),
        (9950, "10k"),
        (340_000, "340k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (1_200_000, "1.2M"),
        (5 * 10**12, "5.0T"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3600, "1h"), (90_000, "1d")],
)
def test_ages(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(("time", "text"), [(None, "-"), (0.84, "0.8 ms"), (23.6, "24 ms")])
def test_round_trips(time: float | None, text: str) -> None:
    assert milliseconds_text(time) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(1.46, "1.5ms"), (12.3, "12ms"), (1500, "1.5s"), (59_949, "59.9s"), (180_000, "3m")],
)
def test_measured_durations(milliseconds: float, text: str) -> None:
    assert took_text(milliseconds) == text


def test_transfers() -> None:
    assert transfer_text(64_000_000, 0.26) == "64 MB in 0.26 s, 246 MB/s"


def test_a_curve_has_the_newest_value_at_its_right() -> None:
    assert curve_text((0.0, 50.0, 100.0), 5) == "   ▄█"
    assert curve_text((None, 1.0), 4) == "   █"
    assert curve_text((), 3) == "   "
    # Two values a column, the mean of both.
    assert curve_text((0.0, 0.0, 100.0, 0.0, 100.0, 100.0), 3) == " ▄█"


def test_a_curve_shows_little_traffic_too() -> None:
    assert curve_text((1.0, 1_000_000.0), 2) == "▁█"
