"""When a link that ended counts as one that its server ends for want of channels."""

from __future__ import annotations

import pytest

from tunnelctl.state.unused import UnusedEnds


def _judged(*ends: tuple[float | None, str]) -> list[bool]:
    known = UnusedEnds()
    return [known.is_one(unused, said) for unused, said in ends]


def test_the_second_link_that_ends_after_about_the_same_time_shows_it() -> None:
    assert _judged((300, ""), (301, ""), (299.5, "")) == [False, True, True]


@pytest.mark.parametrize(
    "said",
    [
        "Idle timeout",
        "idle timeout",
        "Detected IdleTimeout after 601000/600000 ms.",
        "terminating inactive connection",
        "unused connection",
        "no open channels",
    ],
)
def test_a_server_that_says_so_is_believed(said: str) -> None:
    assert _judged((300, said)) == [True]


@pytest.mark.parametrize("said", ["", "Too many authentication failures", "shutting down"])
def test_other_ends_are_none(said: str) -> None:
    assert _judged((300, said), (40, said), (7, said)) == [False, False, False]


def test_a_link_that_carried_something_or_ended_at_once_is_none() -> None:
    ends = ((None, "Idle timeout"), (0.2, ""), (0.2, ""))
    assert not any(_judged(*ends))


def test_a_link_that_was_lost_between_two_changes_nothing() -> None:
    assert _judged((300, ""), (None, ""), (300, "")) == [False, False, True]


def test_a_young_link_that_is_lost_twice_is_lost() -> None:
    assert _judged((2, ""), (2.5, ""), (2, "")) == [False, False, False]
