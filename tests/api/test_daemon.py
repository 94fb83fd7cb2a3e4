"""`tunnelctl.connect_daemon`: the control API of a running daemon as an object."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

import tunnelctl
from tests.support.clients import exchange
from tests.support.profiles import EMBEDDED
from tests.support.services import EchoService, connect
from tests.support.world import World, private_world

ECHO = '  echo: {{local: 0, to: "127.0.0.1:{port}", via: demo}}\n'


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """A world with a daemon, for all tests of this module."""
    with private_world() as world, EchoService() as service:
        world.profile("dev", EMBEDDED + ECHO.format(port=service.port))
        world.profile("other", EMBEDDED)
        world.profile("wrong", "version: 1\nforwards: {a: {local: x}}\n")
        world.ok("up", "other", "-d")
        yield world


@pytest.fixture
def daemon(shared: World) -> Iterator[tunnelctl.Daemon]:
    with tunnelctl.connect_daemon(environ=shared.environ) as daemon:
        yield daemon
        with suppress(tunnelctl.Failure):  # it was never up here
            daemon.down("dev", drain=0.0)


def test_a_profile_goes_up_and_down_and_its_events_are_heard(daemon: tunnelctl.Daemon) -> None:
    events = daemon.events("dev")
    profile = daemon.up("dev")
    assert (profile["state"], profile["wanted"]) == ("up", "up")
    assert profile["holders"]["detached"]
    assert daemon.profile("dev")["forwards"][0]["state"] == "up"
    for event in events:
        if (event["kind"], event["state"]) == ("profile", "up"):
            break
    assert [one["name"] for one in daemon.status("dev")["profiles"]] == ["dev"]
    assert daemon.down("dev", drain=0.0)["state"] == "stopped"
    with closing(events):
        while (last := events.next(10.0)) and last["state"] != "stopped":
            pass
        assert last is not None


def test_a_profile_is_restarted_and_reloaded(daemon: tunnelctl.Daemon, shared: World) -> None:
    daemon.up("dev")
    assert daemon.restart("dev", "demo")["name"] == "dev"
    file = shared.configs / "dev.yaml"
    text = file.read_text()
    file.write_text(f'{text}  more: {{local: 0, to: "hello:80", via: demo}}\n')
    planned = daemon.reload("dev", dry_run=True)
    (change,) = planned[0]["changes"]
    assert change == {"kind": "forward", "name": "more", "action": "added"}
    assert len(daemon.profile("dev")["forwards"]) == 2
    daemon.reload("dev")
    assert len(daemon.profile("dev")["forwards"]) == 3
    file.write_text(text)


def test_a_connection_is_shown_and_closed(daemon: tunnelctl.Daemon) -> None:
    listen = daemon.up("dev")["forwards"][1]["listen"]
    with connect(int(listen.rpartition(":")[2])) as client:
        exchange(client, b"it")
        (found,) = daemon.connections("dev", "echo")["connections"]
        assert (found["profile"], found["bytes_out"]) == ("dev", 2)
        daemon.close_connection(found["id"])
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(tunnelctl.Failure) as raised:
        daemon.close_connection("no")
    assert raised.value.code == "connection-not-found"


def test_the_log_is_read(daemon: tunnelctl.Daemon) -> None:
    lines = daemon.logs("other", lines=2)
    assert len(lines) == 2
    assert {line["profile"] for line in lines} == {"other"}


@pytest.mark.parametrize(
    ("name", "code"), [("wrong", "config-invalid"), ("nowhere", "profile-not-found")]
)
def test_what_cannot_go_up_says_why(daemon: tunnelctl.Daemon, name: str, code: str) -> None:
    daemon.up("dev")
    with pytest.raises(tunnelctl.Failure) as raised:
        daemon.up(name)
    assert raised.value.code == code
    with pytest.raises(tunnelctl.Failure):
        daemon.profile(name)


def test_a_profile_that_is_not_ready_in_time_stays_wanted(
    daemon: tunnelctl.Daemon, shared: World
) -> None:
    host = "{hostname: 127.0.0.1, port: 1, user: me}"
    shared.profile(
        "far", f"version: 1\nhosts: {{a: {host}}}\nforwards: {{b: {{local: 0, to: 1, via: a}}}}\n"
    )
    with pytest.raises(tunnelctl.Failure, match=r"far is not ready after 0.2 s: a: ") as raised:
        daemon.up("far", timeout=0.2)
    assert raised.value.code == "not-ready"
    assert daemon.down("far", drain=0.0)["wanted"] == "down"


def test_it_says_what_it_is_and_ends_in_order(world: World) -> None:
    world.profile("other", EMBEDDED)
    world.ok("up", "other", "-d")
    with tunnelctl.connect_daemon(environ=world.environ) as daemon:
        about = daemon.version()
        assert about.keys() == tunnelctl.VersionDocument.__annotations__.keys()
        assert about["pid"] == daemon.status()["daemon"]["pid"]
        assert daemon.shutdown()
        with pytest.raises(tunnelctl.Failure):
            daemon.version()


def test_without_a_daemon_none_is_started(world: World) -> None:
    with pytest.raises(tunnelctl.Failure) as raised:
        tunnelctl.connect_daemon(environ=world.environ)
    assert raised.value.code == "daemon-not-running"
    with pytest.raises(tunnelctl.Failure):
        tunnelctl.connect_daemon(world.home / "other.sock", environ=world.environ)
    assert world.processes() == []
