"""A plan holds what differs and nothing else, and leads to the new profile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Inspect, OnUnhealthy, Probe, ProbeType, Side
from tunnelctl.spec.host import Host, Reconnect
from tunnelctl.spec.profile import Profile
from tunnelctl.state.profile.plan import diff

NAMES = st.sampled_from("abcd")
HOP = Host("gateway", "gateway.example")
SPARE = Host("spare", "spare.example")
HOSTS = st.builds(
    Host,
    name=NAMES,
    hostname=st.sampled_from(["one.example", "two.example"]),
    port=st.sampled_from([22, 2222]),
    reconnect=st.builds(Reconnect, max=st.sampled_from([30.0, 60.0])),
    proxy_jump=st.sampled_from([(), (HOP,)]),
    fallback=st.sampled_from([(), (HOP,), (HOP, SPARE)]),
    lazy=st.booleans(),
    idle_timeout=st.sampled_from([60.0, 300.0]),
)
FORWARDS = st.builds(
    Forward,
    name=NAMES,
    side=st.sampled_from(Side),
    listen=st.builds(Endpoint, st.just("127.0.0.1"), st.sampled_from([0, 5432])),
    target=st.sampled_from([None, Endpoint("db.internal", 5432)]),
    via=NAMES,
    required=st.booleans(),
    probe=st.builds(Probe, st.sampled_from(ProbeType), st.sampled_from([10.0, 60.0])),
    on_unhealthy=st.sampled_from(OnUnhealthy),
    inspect=st.sampled_from([None, Inspect.HTTP]),
)
PROFILES = st.builds(
    Profile,
    name=st.just("dev"),
    source=st.sampled_from(["configs/dev.yaml", "dev.yaml"]),
    hosts=st.lists(HOSTS, unique_by=lambda h: h.name).map(tuple),
    forwards=st.lists(FORWARDS, unique_by=lambda f: f.name).map(tuple),
    description=st.sampled_from(["", "services"]),
)

BASTION = Host("bastion", "bastion.example")
DB = Forward("db", Side.HERE, Endpoint("127.0.0.1", 5432), Endpoint("db", 5432), "bastion")
BACK = Forward("back", Side.THERE, Endpoint("127.0.0.1", 80), Endpoint("127.0.0.1", 80), "bastion")
DEV = Profile("dev", "dev.yaml", (BASTION,), (DB, BACK))


@given(PROFILES, PROFILES)
def test_applying_a_difference_leads_to_the_new_profile(old: Profile, new: Profile) -> None:
    assert diff(old, new).apply(old) == new


@given(PROFILES)
def test_a_profile_does_not_differ_from_itself(profile: Profile) -> None:
    assert diff(profile, profile).is_empty


@given(PROFILES, PROFILES)
def test_what_is_equal_is_left_alone(old: Profile, new: Profile) -> None:
    plan = diff(old, new)
    touched = {host.name for host in (*plan.hosts.added, *plan.hosts.replaced, *plan.hosts.retuned)}
    assert all(host.name not in touched for host in new.hosts if host in old.hosts)
    assert all(host not in new.hosts for host in plan.hosts.removed)


def test_a_new_address_replaces_a_host() -> None:
    moved = replace(BASTION, hostname="other.example")
    plan = diff(DEV, replace(DEV, hosts=(moved,)))
    assert plan.hosts.replaced == (moved,)
    assert plan.forwards.is_empty


def test_a_new_reconnect_policy_is_retuned_in_place() -> None:
    patient = replace(BASTION, reconnect=Reconnect(max=600))
    plan = diff(DEV, replace(DEV, hosts=(patient,)))
    assert plan.hosts.retuned == (patient,)
    assert plan.hosts.replaced == ()


def test_the_agent_of_another_session_is_no_reason_to_connect_anew() -> None:
    """The link that is up does not need it; the next login finds it."""
    hop = replace(HOP, identity_agent="/run/old")
    old = replace(BASTION, identity_agent="/run/old", proxy_jump=(hop,))
    new = replace(old, identity_agent="/run/new", proxy_jump=(HOP,))
    plan = diff(replace(DEV, hosts=(old,)), replace(DEV, hosts=(new,)))
    assert (plan.hosts.retuned, plan.hosts.replaced) == ((new,), ())
    none = replace(new, identity_agent="none")
    assert diff(replace(DEV, hosts=(new,)), replace(DEV, hosts=(none,))).hosts.replaced == (none,)


def test_a_new_policy_and_a_new_address_replace_a_host() -> None:
    other = replace(BASTION, port=2222, reconnect=Reconnect(max=600))
    plan = diff(DEV, replace(DEV, hosts=(other,)))
    assert plan.hosts.replaced == (other,)
    assert plan.hosts.retuned == ()


@pytest.mark.parametrize(
    "other",
    [
        replace(BASTION, proxy_jump=(HOP,)),
        replace(BASTION, fallback=(SPARE,)),
        replace(BASTION, fallback=(replace(SPARE, port=2222),)),
        replace(BASTION, lazy=True),
    ],
    ids=["hop", "fallback", "fallback's port", "lazy"],
)
def test_another_way_to_a_host_replaces_it(other: Host) -> None:
    with_spare = replace(BASTION, fallback=(replace(SPARE, port=22000),))
    for before in (BASTION, with_spare):
        plan = diff(replace(DEV, hosts=(before,)), replace(DEV, hosts=(other,)))
        assert plan.hosts.replaced == (other,)
        assert plan.forwards.is_empty


def test_another_time_to_rest_is_retuned_in_place() -> None:
    other = replace(BASTION, idle_timeout=5.0)
    assert diff(DEV, replace(DEV, hosts=(other,))).hosts.retuned == (other,)


def test_another_probe_keeps_the_connections() -> None:
    other = replace(DB, probe=Probe(ProbeType.HTTP), on_unhealthy=OnUnhealthy.RECONNECT)
    plan = diff(DEV, replace(DEV, forwards=(other, BACK)))
    assert plan.forwards.retuned == (other,)
    assert plan.forwards.replaced == ()


def test_inspection_begins_and_ends_in_place() -> None:
    inspected = replace(DEV, forwards=(replace(DB, inspect=Inspect.HTTP), BACK))
    assert diff(DEV, inspected).forwards.retuned == inspected.forwards[:1]
    assert diff(inspected, DEV).forwards.retuned == (DB,)


@given(PROFILES, PROFILES, PROFILES)
def test_differences_follow_one_another(one: Profile, two: Profile, three: Profile) -> None:
    assert diff(two, three).apply(diff(one, two).apply(one)) == three


def test_forwards_are_added_and_removed_by_name() -> None:
    web = replace(DB, name="web")
    plan = diff(DEV, replace(DEV, forwards=(BACK, web)))
    assert plan.forwards.added == (web,)
    assert plan.forwards.removed == (DB,)
    assert plan.forwards.replaced == ()
    assert plan.hosts.is_empty


def test_a_forward_that_listens_elsewhere_is_replaced() -> None:
    moved = replace(DB, listen=Endpoint("127.0.0.1", 5433))
    assert diff(DEV, replace(DEV, forwards=(moved, BACK))).forwards.replaced == (moved,)


def test_a_forward_that_is_no_longer_required_keeps_its_connections() -> None:
    optional = replace(DB, required=False)
    plan = diff(DEV, replace(DEV, forwards=(optional, BACK)))
    assert plan.forwards.retuned == (optional,)
    assert plan.forwards.replaced == ()
