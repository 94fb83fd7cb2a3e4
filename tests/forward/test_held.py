"""Which ports of a server may be held by a session of ours that it does not miss yet."""

from __future__ import annotations

from tunnelctl import clock
from tunnelctl.forward.remote.held_ports import HeldPort, HeldPorts
from tunnelctl.spec.endpoint import Endpoint

SERVER = "10.0.0.7:22"
LISTEN = Endpoint("localhost", 8080)
PORT = HeldPort("dev/back", SERVER, LISTEN)


def test_one_that_is_served_or_was_given_back_holds_nothing_up() -> None:
    held = HeldPorts()
    changes: list[int] = []
    held.on_change = lambda: changes.append(len(list(held)))
    held.granted(PORT)
    assert held.keeper(SERVER, LISTEN) is None
    held.lost(SERVER, LISTEN)
    held.lost(SERVER, LISTEN)
    assert held.keeper(SERVER, LISTEN) is not None
    held.released(SERVER, LISTEN)
    assert held.keeper(SERVER, LISTEN) is None
    assert changes == [1, 1, 0]


def test_it_keeps_that_port_from_us_at_that_server_alone() -> None:
    held = HeldPorts()
    held.granted(PORT)
    held.lost(SERVER, LISTEN)
    for host in ("127.0.0.1", "*", "::1", "0.0.0.0"):
        keeper = held.keeper(SERVER, Endpoint(host, 8080))
        assert keeper is not None, host
        assert keeper.owner == "dev/back"
    assert held.keeper(SERVER, Endpoint("10.0.0.7", 8080)) is None
    assert held.keeper(SERVER, Endpoint("localhost", 8081)) is None
    assert held.keeper("10.0.0.8:22", LISTEN) is None


def test_the_next_daemon_takes_what_was_served_for_lost() -> None:
    held = HeldPorts()
    held.restore([PORT])
    assert held.keeper(SERVER, LISTEN) is not None
    held.granted(PORT)
    assert held.keeper(SERVER, LISTEN) is None


def test_no_ghost_lives_for_ever() -> None:
    """By then every server has missed it, and who has the port is somebody else."""
    now = clock.wall().timestamp()
    held = HeldPorts()
    held.restore([HeldPort("dev/back", SERVER, LISTEN, now - 3 * 3600)])
    assert held.keeper(SERVER, LISTEN) is None
    held.restore([HeldPort("dev/back", SERVER, LISTEN, now - 3600)])
    assert held.keeper(SERVER, LISTEN) is not None
