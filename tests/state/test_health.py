"""Rise and fall, how often a target is asked, and how often a host is connected anew for it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.spec.forward import Probe, ProbeType
from tunnelctl.spec.host import Reconnect
from tunnelctl.state.documents.snapshot import Health
from tunnelctl.state.health import ProbeTally, Remedy, judged, next_wait, tried

NEVER = ProbeTally()


def probe(rise: int = 1, fall: int = 3, interval: float = 10) -> Probe:
    return Probe(ProbeType.TCP, rise=rise, fall=fall, interval=interval)


def history(answers: str, rise: int = 1, fall: int = 3) -> list[str]:
    """The health after each answer of `answers`, + or -."""
    tally, told = NEVER, []
    for answer in answers:
        tally = judged(tally, probe(rise, fall), answered=answer == "+")
        told.append(str(tally.health))
    return told


@pytest.mark.parametrize(
    ("answers", "rise", "fall", "last"),
    [
        ("+", 1, 3, "healthy"),
        ("--", 1, 3, "unknown"),
        ("---", 1, 3, "unhealthy"),
        ("+--+--+", 1, 3, "healthy"),
        ("+---", 1, 3, "unhealthy"),
        ("+---+", 1, 3, "healthy"),
        ("---+", 2, 3, "unhealthy"),
        ("---+-+", 2, 3, "unhealthy"),
        ("---++", 2, 3, "healthy"),
        ("-", 1, 1, "unhealthy"),
    ],
)
def test_it_takes_rise_and_fall(answers: str, rise: int, fall: int, last: str) -> None:
    assert history(answers, rise, fall)[-1] == last


@given(st.text("+-", max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_a_verdict_changes_only_with_enough_of_the_same(answers: str, rise: int, fall: int) -> None:
    told = ["unknown", *history(answers, rise, fall)]
    for at, (before, after) in enumerate(itertools.pairwise(told), 1):
        if after != before:
            wanted = "+" * rise if after == "healthy" else "-" * fall
            assert answers[:at].endswith(wanted)
    assert "unknown" not in told[told.index("healthy") :] if "healthy" in told else True


@given(st.floats(0, 0.999), st.floats(1, 3600))
def test_what_was_asked_for_comes_as_often_as_that(jitter: float, interval: float) -> None:
    asked = probe(interval=interval)
    assert 0 <= next_wait(NEVER, asked, jitter) <= 0.1
    for answered in (True, False):
        wait = next_wait(judged(NEVER, asked, answered=answered), asked, jitter)
        assert 0.9 * interval <= wait <= interval


def test_what_nobody_asked_for_is_rare_while_all_is_well() -> None:
    unasked = Probe(ProbeType.TCP, unasked=True)
    well = judged(NEVER, unasked, answered=True)
    doubtful = judged(well, unasked, answered=False)
    assert doubtful.health is Health.HEALTHY
    assert next_wait(NEVER, unasked, 0) == 3
    assert next_wait(well, unasked, 0) == 60
    assert next_wait(doubtful, unasked, 0) == unasked.interval == 10


def test_a_remedy_that_does_not_help_is_taken_ever_more_rarely() -> None:
    policy = Reconnect(min=1, max=60)
    remedy, now, waits = Remedy(), 100.0, []
    for _ in range(8):
        assert now >= remedy.not_before
        remedy = tried(remedy, policy, now)
        waits.append(remedy.not_before - now)
        now = remedy.not_before
    assert waits == [60, 120, 240, 480, 960, 960, 960, 960]
