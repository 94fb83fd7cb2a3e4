"""Which machines are expected, by what the store has."""

from __future__ import annotations

from tunnelctl.fleet.joining import Joining
from tunnelctl.fleet.records import FleetView, RegisteredMachine
from tunnelctl.state.candidates import LastHolder
from tunnelctl.state.election import JOINING

LEASE = 15.0
PATIENCE = LEASE * JOINING
M1, M2, M3 = (RegisteredMachine(f"m{number}", number) for number in (1, 2, 3))
HELD = {"web": LastHolder("m1", "digest")}


def test_at_the_first_start_others_are_expected_since_the_last_one_joined() -> None:
    joining = Joining("m1", LEASE)
    view = FleetView(1)
    joining.saw(view, 100.0)
    assert joining.until("web", view) == 100.0 + PATIENCE
    view = FleetView(2, machines=(M1,))
    joining.saw(view, 100.5)
    view = FleetView(3, machines=(M1, M2))
    joining.saw(view, 103.0)
    joining.saw(view, 104.0)
    assert joining.until("web", view) == 103.0 + PATIENCE


def test_later_only_those_that_are_known_and_not_there_are() -> None:
    joining = Joining("m1", LEASE)
    view = FleetView(7, machines=(M2,), dead=(M1,), last=HELD)  # m1 itself is not registered yet
    joining.saw(view, 100.0)
    assert joining.until("web", view) == 0.0
    assert joining.until("new", view) == 100.0 + PATIENCE
    view = FleetView(8, machines=(M1, M2), dead=(M3,), last=HELD)
    joining.saw(view, 100.1)
    assert joining.until("web", view) == 100.1 + PATIENCE
    view = FleetView(9, machines=(M1, M2, M3), last=HELD)
    joining.saw(view, 101.0)
    assert joining.until("web", view) == 0.0
