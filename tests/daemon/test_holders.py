"""Who holds a profile up, as the daemon keeps it."""

from __future__ import annotations

from tunnelctl.daemon.wanted.holders import Holders, command
from tunnelctl.state.holders import DETACHED, SERVICE, Held


def test_what_a_lease_holds_goes_with_it() -> None:
    holders = Holders()
    assert holders.open("a")
    assert not holders.open("a")
    assert holders.attached == 1
    holders.add("dev", command("a"))
    holders.add("base", command("a"))
    assert holders.close("a") == ("base", "dev")
    assert not holders.is_open("a")
    assert holders.let_go("dev", "a")
    assert holders.let_go("base", "a")
    assert not holders.let_go("base", "a")
    assert holders.close("a") == ()
    assert holders.attached == 0


def test_the_last_one_to_let_go_is_told() -> None:
    holders = Holders()
    for lease in ("a", "b"):
        holders.open(lease)
        holders.add("dev", command(lease))
        holders.add("base", command(lease))
    holders.add("dev", DETACHED)
    assert not any(holders.let_go(name, "a") for name in holders.close("a"))
    assert [name for name in holders.close("b") if holders.let_go(name, "b")] == ["base"]
    assert holders.held("dev") == Held(detached=True)
    assert holders.clear("dev") == {DETACHED}
    assert not holders.held("dev")


def test_an_order_holds_while_it_is_carried_out() -> None:
    holders = Holders()
    holders.open("a")
    holders.add("dev", command("a"))
    order = holders.begin_order("dev", None)
    assert not holders.let_go("dev", "a")
    holders.add("dev", DETACHED)
    assert not holders.end("dev", order)
    assert not holders.end("dev", order)
    assert holders.end("dev", DETACHED)


def test_an_order_goes_with_its_own_command() -> None:
    holders = Holders()
    holders.open("a")
    order = holders.begin_order("dev", "a")
    assert order not in holders.of("other")
    assert holders.let_go("dev", "a")
    assert order not in holders.of("dev")


def test_who_holds_nothing_ends_nothing() -> None:
    holders = Holders()
    assert not holders.end("dev", DETACHED)
    assert holders.held("dev") == Held()
    holders.add("dev", SERVICE)
    assert not holders.end("dev", command("a"))
    assert holders.of("dev") == {SERVICE}
