"""The file of a remote unix socket that sshd left: the message helps, and unlink_remote does it."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.unix_sockets import connected, echo_at
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.spec.endpoint import Endpoint


def _echoes(path: Path) -> bool:
    try:
        with connected(Endpoint(path=str(path))) as client:
            client.sendall(b"there?")
            return client.recv(6) == b"there?"
    except OSError:
        return False


def test_what_helps_is_said(world: World, sshd: OpenSSHServer, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    world.tunnel(sshd, back=f"remote: {path}, to: 9")
    done = world.run("up", "-d", "dev")
    assert done.returncode == 76
    for word in (str(path), "StreamLocalBindUnlink yes", "unlink_remote: true"):
        assert word in done.stderr
    told = world.run("doctor", "dev")
    assert "StreamLocalBindUnlink" in told.stdout
    assert told.returncode == 76


@pytest.mark.parametrize("name", ["s", "it's a $(touch x) s"])
def test_it_is_removed_by_a_shell_there(
    world: World, sshd: OpenSSHServer, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    with EchoService() as echo:
        text = f'remote: "{path.as_posix().replace("$", "$$")}", to: {echo.port}'
        world.tunnel(sshd, back=f"{text}, unlink_remote: true")
        world.ok("up", "-d", "dev")
        assert _echoes(path)
        # sshd leaves the file of the link that is lost, and refuses the next one.
        sshd.kill()
        sshd.start()
        eventually(lambda: _echoes(path), "it listens there again")
        assert world.host("dev")["reconnects"] >= 1
        assert not (tmp_path / "x").exists()


def test_one_that_somebody_answers_on_stays(
    world: World, sshd: OpenSSHServer, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with echo_at(path):
        inode = path.stat().st_ino
        world.tunnel(sshd, back=f"remote: {path}, to: 9, unlink_remote: true")
        done = world.run("up", "-d", "dev")
        assert done.returncode == 76
        assert "a program listens on it" in done.stderr
        assert path.stat().st_ino == inode
        assert _echoes(path)


def test_what_is_no_socket_stays(world: World, sshd: OpenSSHServer, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    world.tunnel(sshd, back=f"remote: {path}, to: 9, unlink_remote: true")
    assert world.run("up", "-d", "dev").returncode == 76
    assert path.read_text() == "precious"
    assert stat.S_ISREG(path.lstat().st_mode)


@pytest.mark.parametrize(
    "rule", ["local: 0, to: 9", "remote: 0, to: 9", "remote: ./s, to: 9", "local: ./s, to: 9"]
)
def test_it_goes_with_a_path_on_the_server_alone(
    world: World, sshd: OpenSSHServer, rule: str
) -> None:
    world.tunnel(sshd, x=f"{rule}, unlink_remote: true")
    done = world.run("check", "dev")
    assert done.returncode == 78
    assert "forwards.x.unlink_remote: goes with remote" in done.stdout + done.stderr
    world.tunnel(sshd, x="local: 0, to: 9, unlink_remote: false")
    assert world.run("check", "dev").returncode == 0
