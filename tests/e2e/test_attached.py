"""`up` without -d: it stays, and takes down what it brought up when it ends."""

from __future__ import annotations

import signal

import pytest

from tests.support.clients import ask
from tests.support.ports import free_port
from tests.support.services import EchoService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, tunnel_text


def listens(port: int) -> bool:
    """Whether someone listens there."""
    try:
        connect(port).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_takes_down_what_it_brought_up_however_it_ends(
    world: World, sshd: OpenSSHServer, number: signal.Signals
) -> None:
    port = free_port()
    with EchoService() as echo:
        world.tunnel(sshd, db=f'local: {port}, to: "127.0.0.1:{echo.port}"')
        with world.start("up", "dev") as attached:
            try:
                eventually(lambda: listens(port), "the forward listens")
                assert ask(port, b"hello") == b"hello"
                attached.send_signal(number)
                attached.communicate(timeout=20)
            finally:
                attached.kill()
        if number is signal.SIGINT:
            assert attached.returncode == 130
        eventually(lambda: not listens(port), "the forward is gone")


def test_port_prints_the_address_that_listens(world: World, sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        world.tunnel(sshd, db=f'local: 0, to: "127.0.0.1:{echo.port}"')
        world.ok("up", "dev", "-d")
        address = world.ok("port", "dev/db").strip()
        assert address == world.forward("dev", "db")["listen"]
        host, _, port = address.rpartition(":")
        assert host == "127.0.0.1"
        assert ask(int(port), b"hello") == b"hello"


def test_restart_reconnects_on_the_same_port(world: World, sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        world.tunnel(sshd, db=f'local: 0, to: "127.0.0.1:{echo.port}"')
        world.ok("up", "dev", "-d")
        address = world.ok("port", "dev/db")
        world.ok("restart", "dev")
        eventually(lambda: world.host("dev")["state"] == "up", "the host is up again")
        assert sshd.log.count("Accepted publickey") == 2
        assert world.ok("port", "dev/db") == address
        assert ask(int(address.rpartition(":")[2]), b"hello") == b"hello"


def test_the_daemon_ends_in_time_while_it_is_connecting(world: World, sshd: OpenSSHServer) -> None:
    host = sshd.host_yaml(connect_timeout="2m")
    world.profile("dev", tunnel_text(host, db=f'local: {free_port()}, to: "127.0.0.1:9"'))
    sshd.pause()
    assert world.run("up", "dev", "-d", "--wait-timeout", "1s").returncode == 75
    assert world.host("dev")["state"] == "connecting"
    world.close()  # has a time limit
