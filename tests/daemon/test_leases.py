"""What an attached command holds up."""

from __future__ import annotations

from tunnelctl.daemon.leases import Leases


def test_what_a_lease_holds_goes_with_it() -> None:
    leases = Leases()
    assert leases.open("a")
    assert not leases.open("a")
    leases.hold("a", "dev")
    leases.hold("a", "base")
    assert leases.holds("a", "dev")
    assert leases.close("a") == ("base", "dev")
    assert not leases.is_open("a")
    assert leases.close("a") == ()


def test_what_somebody_else_asked_for_stays() -> None:
    leases = Leases()
    assert leases.open("a")
    assert leases.open("b")
    leases.hold("a", "dev")
    leases.hold("a", "base")
    leases.keep("dev")
    leases.hold("b", "base")
    assert leases.close("a") == ()
    assert leases.close("b") == ("base",)
