"""A port that our own daemon holds is called so, whoever meets it; nobody is told to stop us."""

from __future__ import annotations

import pytest

from tests.support.ports import free_port
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World


def _is_stranger(text: str, world: World) -> bool:
    """Whether a message takes our daemon for somebody else, or would have it stopped."""
    return "stop what" in text or any(f"pid {pid}" in text for pid in world.processes())


@pytest.mark.parametrize("fault", ["backoff", "failed"])
def test_doctor_knows_the_listener_of_a_profile_that_is_not_up(
    world: World, sshd: OpenSSHServer, fault: str
) -> None:
    port = free_port()
    world.tunnel(sshd, db=f"local: {port}, to: 5432")
    world.tunnel(sshd, name="other", db=f"local: {port}, to: 5432")
    if fault == "failed":
        sshd.authorized_keys.write_text("")
    else:
        sshd.stop()
    world.run("up", "-d", "--wait-timeout", "0", "dev")
    eventually(lambda: world.host("dev")["state"] == fault, f"the host is {fault}")
    forward = world.forward("dev", "db")
    assert forward["bound"]
    told = world.run("doctor", "dev").stdout
    assert f"the daemon listens on 127.0.0.1:{port} for it" in told
    assert not _is_stranger(told, world)
    told = world.run("doctor", "other").stdout
    assert f"127.0.0.1:{port} is in use by the forward dev/db of this daemon" in told
    assert "tunnelctl down dev" in told
    assert not _is_stranger(told, world)


@pytest.mark.parametrize("listen", ["{}", "localhost:{}", "'[::1]:{}'", "{}.sock"])
def test_up_and_ps_name_the_forward_that_has_the_port(
    world: World, sshd: OpenSSHServer, listen: str
) -> None:
    port = free_port()
    where = listen.format(f"{world.home}/{port}" if listen.endswith("sock") else port)
    held = f"localhost:{port}" if "::1" in listen else where
    world.tunnel(sshd, db=f"local: {held}, to: 5432")
    world.tunnel(sshd, name="other", mine=f"local: {where}, to: 5432")
    world.ok("up", "-d", "dev")
    done = world.run("up", "-d", "other")
    assert done.returncode == 73
    error = world.forward("other", "mine")["last_error"]
    assert error["code"] == "port-in-use"
    assert error["message"].endswith("is in use by the forward dev/db of this daemon")
    assert error["hint"] == "choose another in the profile, or: tunnelctl down dev"
    assert not world.forward("other", "mine")["bound"]
    for told in (done.stderr, world.run("ps").stdout):
        assert not _is_stranger(told, world)
    assert "dev/db" in done.stderr
    # It does what the hint says, and the port is had.
    world.ok("down", "dev")
    eventually(lambda: world.forward("other", "mine")["bound"], "the other one listens")


def test_a_port_there_that_another_forward_of_ours_has(world: World, sshd: OpenSSHServer) -> None:
    port = free_port()
    with EchoService() as echo:
        world.tunnel(sshd, back=f"remote: {port}, to: {echo.port}")
        world.tunnel(sshd, name="other", mine=f"remote: {port}, to: {echo.port}")
        world.ok("up", "-d", "dev")
        done = world.run("up", "-d", "other")
        assert done.returncode == 76
        assert (
            f"127.0.0.1:{port} on server is in use by the forward dev/back"
            in done.stderr.replace("localhost", "127.0.0.1")
        )
        assert "tunnelctl down dev" in done.stderr
        assert not _is_stranger(done.stderr, world)


def test_a_stranger_is_still_named(world: World, sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        world.tunnel(sshd, db=f"local: {echo.port}, to: 5432")
        done = world.run("up", "-d", "dev")
        assert done.returncode == 73
        assert "in use by pid " in done.stderr


@pytest.mark.parametrize("kind", ["port", "path"])
def test_a_port_of_a_daemon_on_another_socket(world: World, sshd: OpenSSHServer, kind: str) -> None:
    port = free_port()
    path = world.home / "dock.sock"
    where = f"127.0.0.1:{port}" if kind == "port" else str(path)
    world.tunnel(sshd, db=f"local: {where}, to: 5432")
    world.ok("up", "-d", "dev")
    second = {"TUNNELCTL_SOCKET": str(world.home / "second" / "control.sock")}
    done = world.run("up", "-d", "dev", environ=second)
    assert done.returncode == 73
    assert f"{where} is in use by another tunnelctl daemon" in done.stderr
    assert "stop what" not in done.stderr
    told = world.run("doctor", "dev", environ=second).stdout
    assert "another tunnelctl daemon" in told
    assert "stop what" not in told
