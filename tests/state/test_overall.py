"""What a profile is called follows from its parts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.state.documents.snapshot import ForwardState, HostState, ProfileState, Wanted
from tunnelctl.state.profile.overall import (
    CountedPart,
    PartsTally,
    combined,
    forward_part,
    host_part,
    profile_state,
    summary,
)

UP = CountedPart(up=True, troubled=False, hopeless=False)
COMING = CountedPart(up=False, troubled=False, hopeless=False)
TROUBLED = CountedPart(up=False, troubled=True, hopeless=False)
HOPELESS = CountedPart(up=False, troubled=True, hopeless=True)


@pytest.mark.parametrize(
    ("parts", "was_up", "expected"),
    [
        ((UP, UP), False, ProfileState.UP),
        ((COMING, COMING), False, ProfileState.STARTING),
        ((UP, COMING), False, ProfileState.STARTING),
        ((TROUBLED, COMING), False, ProfileState.STARTING),
        ((UP, TROUBLED), False, ProfileState.DEGRADED),
        ((TROUBLED, TROUBLED), True, ProfileState.DEGRADED),
        ((COMING, UP), True, ProfileState.DEGRADED),
        ((UP, HOPELESS), True, ProfileState.FAILED),
        ((HOPELESS, TROUBLED), False, ProfileState.FAILED),
    ],
)
def test_a_wanted_profile(
    parts: tuple[CountedPart, ...], was_up: bool, expected: ProfileState
) -> None:
    assert profile_state(Wanted.UP, summary(parts), all_stopped=False, was_up=was_up) is expected


def test_an_unwanted_profile_stops() -> None:
    together = summary((UP, HOPELESS))
    for stopped, expected in ((False, ProfileState.STOPPING), (True, ProfileState.STOPPED)):
        state = profile_state(Wanted.DOWN, together, all_stopped=stopped, was_up=True)
        assert state is expected


def test_only_a_host_that_is_up_counts_as_up() -> None:
    assert [s for s in HostState if host_part(s, 0).up] == [HostState.UP]
    assert [s for s in HostState if host_part(s, 0).hopeless] == [
        HostState.NEEDS_INPUT,
        HostState.FAILED,
    ]


def test_a_host_that_connects_again_after_a_failure_is_in_trouble() -> None:
    assert host_part(HostState.CONNECTING, attempts=1).troubled
    assert not host_part(HostState.CONNECTING, attempts=0).troubled
    assert not host_part(HostState.UP, attempts=3).troubled


def test_a_failed_forward_is_hopeless_only_when_it_is_not_tried_again() -> None:
    assert not forward_part(ForwardState.FAILED, retried=True).hopeless
    assert forward_part(ForwardState.FAILED, retried=False).hopeless
    assert not forward_part(ForwardState.PENDING, retried=False).hopeless


def test_a_lazy_host_is_as_good_as_up_until_it_is_in_trouble() -> None:
    resting = [HostState.IDLE, HostState.CONNECTING, HostState.AUTHENTICATING, HostState.UP]
    assert [s for s in HostState if host_part(s, 0, lazy=True).up] == resting
    assert [s for s in HostState if host_part(s, 1, lazy=True).up] == [HostState.UP]


@given(st.lists(st.lists(st.sampled_from([UP, COMING, TROUBLED, HOPELESS]))))
def test_summaries_add_up(tunnels: list[list[CountedPart]]) -> None:
    assert combined(map(summary, tunnels)) == summary(itertools.chain(*tunnels))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "db", "web"]),
            st.sampled_from([UP, COMING, TROUBLED, HOPELESS, None]),
        )
    )
)
def test_a_tally_is_the_summary_of_what_was_put_last(
    changes: list[tuple[str, CountedPart | None]],
) -> None:
    tally, parts = PartsTally(), dict[str, CountedPart | None]()
    for name, part in changes:
        tally.put(name, part)
        parts[name] = part
        assert tally.summary == summary(part for part in parts.values() if part is not None)
