"""Which machines may take a profile, and how profiles spread."""

from __future__ import annotations

from collections import Counter

from tunnelctl.state.candidates import LastHolder, may_take, ordered, rank

MACHINES = [f"m{number}" for number in range(10)]
PROFILES = [f"p{number}" for number in range(1000)]


def test_profiles_spread_and_those_of_a_lost_machine_spread_over_the_others() -> None:
    first = {profile: ordered(profile, MACHINES)[0] for profile in PROFILES}
    shares = Counter(first.values())
    assert set(shares) == set(MACHINES)
    assert max(shares.values()) < 2 * len(PROFILES) / len(MACHINES)
    others = MACHINES[1:]
    moved = {profile: ordered(profile, others)[0] for profile in PROFILES}
    assert all(moved[one] == first[one] for one in PROFILES if first[one] != MACHINES[0])
    assert len({moved[one] for one in PROFILES if first[one] == MACHINES[0]}) > len(others) / 2


def test_the_file_of_the_last_holder_counts() -> None:
    last = LastHolder("m1", "old")
    assert may_take("m2", {"m2": "old"}, last)
    assert not may_take("m2", {"m2": "new"}, last)
    assert not may_take("m2", {"m2": "new", "m3": "old"}, last)


def test_a_newer_file_counts_where_its_holder_has_it_or_several_agree() -> None:
    last = LastHolder("m1", "old")
    assert may_take("m1", {"m1": "new"}, last)
    assert may_take("m2", {"m2": "new", "m3": "new"}, last)


def test_a_machine_that_must_not_take_it_has_no_rank() -> None:
    last = LastHolder("m1", "old")
    digests = {"m2": "new", "m3": "old", "m4": "old"}
    assert rank("web", "m2", digests, last) is None
    assert sorted(rank("web", each, digests, last) or 0 for each in ("m3", "m4")) == [0, 1]


def test_the_machine_that_gave_a_profile_up_comes_last() -> None:
    digests = dict.fromkeys(MACHINES, "same")
    first = ordered("web", MACHINES)[0]
    last = LastHolder(first, "same")
    ranks = {each: rank("web", each, digests, last, gave_up=first) for each in MACHINES}
    assert sorted(ranks.values(), key=lambda one: one or 0) == list(range(len(MACHINES)))
    assert ranks[first] == len(MACHINES) - 1
    assert rank("web", first, digests, last) == 0
