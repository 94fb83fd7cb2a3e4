"""Bytes a second, from totals."""

from __future__ import annotations

from tests.view.samples import forward, host, profile
from tunnelctl.state.documents.snapshot import ProfileStatus
from tunnelctl.view.rates import ForwardRates


def totals(come: int, gone: int) -> list[ProfileStatus]:
    return [profile([host()], [forward(bytes_in=come, bytes_out=gone)])]


def test_a_rate_is_the_mean_of_the_last_seconds() -> None:
    rates = ForwardRates()
    rates.add(totals(0, 500), 100.0)
    assert rates("dev", "db") == (0.0, 0.0)
    rates.add(totals(1000, 500), 102.0)
    assert rates("dev", "db") == (500.0, 0.0)
    rates.add(totals(1000, 500), 106.0)
    assert rates("dev", "db") == (0.0, 0.0)
    # It was closed and opened anew: its counters began again.
    rates.add(totals(10, 10), 107.0)
    assert rates("dev", "db") == (0.0, 0.0)


def test_what_has_left_has_no_rate() -> None:
    rates = ForwardRates()
    assert rates("dev", "db") == (0.0, 0.0)
    rates.add(totals(0, 500), 100.0)
    rates.add([], 101.0)
    assert rates("dev", "db") == (0.0, 0.0)
