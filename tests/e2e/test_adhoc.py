"""`up -L … HOST`: what ssh takes works without a file, and is a profile like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clients import ask
from tests.support.ports import free_port
from tests.support.services import EchoService, ReplyAfterEndService
from tests.support.socks import ask5
from tests.support.sshd import OpenSSHServer
from tests.support.world import World


@pytest.fixture
def bastion(world: World, sshd: OpenSSHServer) -> World:
    world.alias("bastion", sshd)
    return world


def test_every_kind_at_once(bastion: World) -> None:
    local, remote, socks = free_port(), free_port(), free_port()
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service, EchoService() as echo:
        done = bastion.run(
            "up", "-d", "-L", f"{local}:127.0.0.1:{service.port}",
            "-R", f"{remote}:localhost:{service.port}", "-D", str(socks), "bastion",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"Forwarding from 127.0.0.1:{local} -> 127.0.0.1:{service.port}" in done.stdout
        assert ask(local, b"it") == b"seen it"
        assert ask(remote, b"there") == b"seen there"
        asked = ask5(socks, "127.0.0.1", echo.port)
        asked.connection.close()
        assert asked.code == 0
        listed = bastion.ok("ps")
        assert f"bastion/local-{local}" in listed
        assert f"bastion/remote-{remote}" in listed
        assert f"bastion/socks-{socks}" in listed
        bastion.ok("down", "bastion")


def test_the_same_line_again_changes_nothing_and_one_in_its_place_what_differs(
    bastion: World,
) -> None:
    first, second = free_port(), free_port()
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        target = f"127.0.0.1:{service.port}"
        bastion.ok("up", "-d", "-L", f"{first}:{target}", "bastion")
        since = bastion.host("bastion", "bastion")["since"]
        bastion.ok("up", "-d", "-L", f"{first}:{target}", "bastion")
        more = ("-L", f"{first}:{target}", "-L", f"{second}:{target}", "bastion")
        bastion.ok("up", "-d", "--replace", *more)
        assert bastion.host("bastion", "bastion")["since"] == since
        assert ask(second, b"it") == b"seen it"


def test_sockets_are_named_from_here(bastion: World) -> None:
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        bastion.ok("up", "-d", "-L", f"./here.sock:127.0.0.1:{service.port}", "bastion")
        assert (bastion.home / "here.sock").is_socket()
        assert bastion.forward("bastion", "local-here.sock")["listen"] == str(
            bastion.home / "here.sock"
        )


def test_a_name_of_its_own_and_no_clash_with_a_file(bastion: World) -> None:
    bastion.profile("bastion", "forwards: {x: {local: 0, to: 9, via: bastion}}\n")
    done = bastion.run("up", "-d", "-L", "0:127.0.0.1:9", "--as", "bastion", "bastion")
    assert done.returncode == 2
    assert "--as bastion-2" in done.stderr
    bastion.ok("up", "-d", "-L", "0:127.0.0.1:9", "bastion")
    assert bastion.forward("bastion-2", "local-to-9")["state"] == "up"
    bastion.ok("up", "-d", "-L", "0:127.0.0.1:10", "--as", "mine", "bastion")
    assert bastion.forward("mine", "local-to-10")["state"] == "up"


def test_its_name_is_enough_once_the_daemon_knows_it(bastion: World) -> None:
    port = free_port()
    bastion.ok("up", "-d", "-L", f"{port}:127.0.0.1:9", "bastion")
    bastion.ok("up", "-d", "bastion")
    assert bastion.forward("bastion", f"local-{port}")["state"] == "up"
    assert bastion.run("run", "bastion", "--", "true").returncode == 0
    bastion.ok("down", "bastion")
    done = bastion.run("restart", "bastion")
    assert (done.returncode, "tunnelctl up bastion -d" in done.stderr) == (1, True)
    bastion.ok("up", "bastion", "-d")  # as it says
    assert bastion.forward("bastion", f"local-{port}")["state"] == "up"


def test_it_is_kept_where_nobody_else_can_write(bastion: World) -> None:
    bastion.ok("up", "-d", "-L", "0:127.0.0.1:9", "bastion")
    (file,) = Path(bastion.state).rglob("bastion.*.yaml")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "tunnelctl up -L 0:127.0.0.1:9 bastion" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-L", "5432:db", "bastion"], "-L '5432:db'"),
        (["-L", "0:db:1"], "one HOST"),
        (["-L", "0:db:1", "a", "b"], "one HOST"),
        (["-L", "0:db:1", "-f", "x.yaml", "a"], "no file"),
        (["-L", "0:db:1", "-oProxyCommand=x"], "one HOST"),
        (["-R", "1080", "bastion"], "--permit"),
        (["--as", "x", "dev", "other"], "--as names one profile"),
        (["--as", "No Name", "dev"], "cannot be the name"),
        (["--permit", "db:1", "dev"], "go with -L"),
        (["-L", "0:db:1", ""], "HOST is empty"),
        (["-L", "0:a b:1", "bastion"], "not a host name"),
        (["-R", "1080", "--permit", "x", "bastion"], "--permit 'x'"),
        (["-L", "0:db:1", "--permit", "db:1", "bastion"], "--permit goes with -R PORT"),
        (["-L", "*:0:db:1", "--allow", "x", "bastion"], "--allow is not a network: 'x'"),
        (["-L", "0:db:1", "--allow", "10.0.0.0/8", "bastion"], "no other machine"),
        (["-L", "0:db:1", "--as", "No Name", "a"], "cannot be the name"),
    ],
)
def test_what_is_wrong_is_said(world: World, arguments: list[str], said: str) -> None:
    done = world.run("up", "-d", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(world.state.rglob("*.yaml"))


def test_others_can_reach_it_is_said(bastion: World) -> None:
    port = free_port()
    done = bastion.run("up", "-d", "-L", f"*:{port}:127.0.0.1:9", "bastion")
    assert done.returncode == 0, done.stderr
    assert "also reachable from other machines" in done.stderr


def test_a_state_folder_that_cannot_be_written(bastion: World, tmp_path: Path) -> None:
    """As of a user id without a home (OpenShift)."""
    other = tmp_path / "file"
    other.touch()
    done = bastion.run(
        "up", "-d", "-L", f"{free_port()}:127.0.0.1:1", "bastion",
        environ={"XDG_STATE_HOME": str(other)},
    )  # fmt: skip
    assert done.returncode == 73
    assert "cannot be written" in done.stderr
    assert "set HOME or XDG_STATE_HOME" in done.stderr
    assert len(done.stderr.splitlines()) == 1
