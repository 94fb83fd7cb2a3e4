"""Waits grow, are capped, and are spread."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.spec.host import Reconnect
from tunnelctl.state import backoff

POLICIES = st.builds(
    Reconnect,
    min=st.floats(0.001, 100),
    max=st.floats(0.001, 10_000),
)
JITTERS = st.floats(0, 1, exclude_max=True)


def test_the_wait_doubles_up_to_the_cap() -> None:
    policy = Reconnect(min=1, max=60)
    assert [backoff.ceiling(policy, n) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_takes_a_share_of_the_whole_wait() -> None:
    policy = Reconnect(min=1, max=60)
    assert backoff.delay(policy, 3, 0.0) == 0
    assert backoff.delay(policy, 3, 0.5) == 4


@given(POLICIES, st.integers(0, 10**9), JITTERS)
def test_a_wait_is_never_longer_than_the_cap(
    policy: Reconnect, attempt: int, jitter: float
) -> None:
    assert 0 <= backoff.delay(policy, attempt, jitter) <= policy.max


def test_a_client_that_waits_sees_a_try_every_second_or_so() -> None:
    policy = Reconnect(min=1, max=60)
    assert [backoff.awaited_delay(policy, 0, jitter) for jitter in (0.0, 0.5)] == [0, 0.5]
    assert [backoff.awaited_delay(policy, 1, jitter) for jitter in (0.0, 0.5)] == [1, 1.25]
    assert backoff.awaited_delay(policy, 50, 0.5) == 1.25
    quick = Reconnect(min=0.1, max=0.4)
    assert backoff.awaited_delay(quick, 50, 0.5) == backoff.delay(quick, 50, 0.5)


@given(POLICIES, st.integers(0, 10**9), JITTERS)
def test_a_client_never_waits_longer_than_the_cap_nor_for_more_than_a_try_a_second(
    policy: Reconnect, attempt: int, jitter: float
) -> None:
    wait = backoff.awaited_delay(policy, attempt, jitter)
    longest = min(backoff.AWAITED_MAX, backoff.ceiling(policy, attempt))
    assert 0 <= wait <= longest
    assert wait >= backoff.AWAITED_MIN or longest <= backoff.AWAITED_MIN


@given(POLICIES, st.integers(0, 2000))
def test_the_wait_never_shrinks_with_more_failures(policy: Reconnect, attempt: int) -> None:
    assert backoff.ceiling(policy, attempt) <= backoff.ceiling(policy, attempt + 1)


@given(POLICIES)
def test_a_host_that_fails_for_weeks_waits_the_cap(policy: Reconnect) -> None:
    assert backoff.ceiling(policy, 10**6) == policy.max
