"""When a link that ended counts as one that its server ends for want of channels."""

from __future__ import annotations

import pytest

from tunnelctl.state.host.unused import LinkEndKind, UnusedEnds

UNUSED, PERHAPS, OTHER = LinkEndKind.UNUSED, LinkEndKind.PERHAPS_UNUSED, LinkEndKind.OTHER


def _judged(*ends: tuple[float | None, str]) -> list[LinkEndKind]:
    known = UnusedEnds()
    return [known.judge(unused, said) for unused, said in ends]


def test_the_third_link_that_ends_after_the_same_time_shows_it() -> None:
    ends = ((300, ""), (301, ""), (299.5, ""), (300, ""))
    assert _judged(*ends) == [PERHAPS, PERHAPS, UNUSED, UNUSED]


@pytest.mark.parametrize("last", [10.5, 14.0, 300.0])
def test_two_links_that_are_lost_at_the_same_age_are_no_habit(last: float) -> None:
    assert _judged((12, ""), (12.1, ""), (last, "")) == [PERHAPS] * 3


def test_a_habit_that_changes_has_to_show_again() -> None:
    ends = [(300, "")] * 3 + [(60, "")] * 3
    assert _judged(*ends) == [PERHAPS, PERHAPS, UNUSED] * 2


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
    assert _judged((300, said)) == [UNUSED]


@pytest.mark.parametrize("said", ["", "Too many authentication failures", "shutting down"])
def test_other_ends_are_none(said: str) -> None:
    assert _judged((300, said), (40, said), (7, said)) == [PERHAPS, PERHAPS, OTHER]


def test_a_link_that_carried_something_or_ended_at_once_is_none() -> None:
    ends = ((None, "Idle timeout"), (0.2, ""), (0.2, ""), (0.2, ""))
    assert _judged(*ends) == [OTHER] * 4


def test_a_link_that_was_lost_between_two_changes_nothing() -> None:
    ends = ((300, ""), (None, ""), (300, ""), (300, ""))
    assert _judged(*ends) == [PERHAPS, OTHER, PERHAPS, UNUSED]


def test_young_links_that_are_lost_are_lost() -> None:
    assert _judged((2, ""), (2.5, ""), (2, ""), (2, "")) == [OTHER] * 4
