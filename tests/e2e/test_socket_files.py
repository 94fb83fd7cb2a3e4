"""The file of a local unix socket that somebody removes: never said up, and bound anew."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.unix_sockets import connected
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.spec.endpoint import Endpoint

_WITHIN = 10.0  # seconds, SPEC.md's promise 8


def _remove(path: Path) -> None:
    path.unlink()


def _rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def _replace_by_a_dead_one(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def _remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.mkdir(mode=0o700)


def _echoes(path: Path) -> bool:
    with connected(Endpoint(path=str(path))) as client:
        client.sendall(b"there?")
        return client.recv(6) == b"there?"


@pytest.fixture
def path(world: World) -> Path:
    """Where the forward `dock` listens."""
    (world.home / "sockets").mkdir(mode=0o700)
    return world.home / "sockets" / "dock"


@pytest.mark.parametrize("harm", [_remove, _rename, _replace_by_a_dead_one, _remove_folder])
def test_a_file_that_is_removed_is_bound_anew(
    world: World, sshd: OpenSSHServer, path: Path, harm: Callable[[Path], None]
) -> None:
    with EchoService() as echo:
        world.tunnel(sshd, dock=f"local: {path}, to: {echo.port}")
        world.ok("up", "dev", "-d")
        with connected(Endpoint(path=str(path))) as before:
            before.sendall(b"one")
            assert before.recv(3) == b"one"
            harm(path)
            # Status looks first: it is up because it can be found.
            assert world.forward("dev", "dock")["state"] == "up"
            assert _echoes(path)
            before.sendall(b"two")
            assert before.recv(3) == b"two"


def test_it_is_noticed_when_nobody_asks(world: World, sshd: OpenSSHServer, path: Path) -> None:
    with EchoService() as echo:
        world.tunnel(sshd, dock=f"local: {path}, to: {echo.port}")
        world.ok("up", "dev", "-d")
        path.unlink()
        eventually(path.exists, "it is bound anew", _WITHIN)
        assert _echoes(path)


def test_while_it_cannot_be_bound_it_is_not_up(
    world: World, sshd: OpenSSHServer, path: Path
) -> None:
    with EchoService() as echo:
        world.tunnel(sshd, dock=f"local: {path}, to: {echo.port}")
        world.ok("up", "dev", "-d")
        shutil.rmtree(path.parent)
        forward = world.forward("dev", "dock")
        assert forward["state"] == "failed"
        assert str(path) in forward["last_error"]["message"]
        assert world.run("port", "dev/dock").returncode == 1
        assert world.run("ps").returncode == 1
        assert world.run("up", "dev", "-d").returncode == 73
        path.parent.mkdir(mode=0o700)
        eventually(path.exists, "it is bound anew", _WITHIN)
        assert world.run("ps").returncode == 0
        assert _echoes(path)


def test_a_folder_that_is_not_there_yet_is_said_and_waited_for(
    world: World, sshd: OpenSSHServer, path: Path
) -> None:
    """As one of a session, or of a disk that is mounted late."""
    path.parent.rmdir()
    with EchoService() as echo:
        world.tunnel(sshd, dock=f"local: {path}, to: {echo.port}")
        done = world.run("up", "dev", "-d")
        assert done.returncode == 73
        assert f"there is no folder {path.parent} (mkdir -p {path.parent})" in done.stderr
        forward = world.forward("dev", "dock")
        assert (forward["state"], forward["last_error"]["code"]) == ("failed", "name-not-found")
        doctor = world.run("doctor", "dev")
        assert doctor.returncode == 73
        assert f"mkdir -p {path.parent}" in doctor.stdout
        path.parent.mkdir(mode=0o700)
        eventually(path.exists, "it is bound", _WITHIN)
        assert _echoes(path)


def test_a_file_in_the_way_is_called_so_and_waited_for(
    world: World, sshd: OpenSSHServer, path: Path
) -> None:
    path.write_text("mine")
    with EchoService() as echo:
        world.tunnel(sshd, dock=f"local: {path}, to: {echo.port}")
        done = world.run("up", "dev", "-d")
        assert done.returncode == 73
        assert f"{path} is a file, not a socket" in done.stderr
        assert "stop what uses it" not in done.stderr
        assert path.read_text() == "mine"
        path.unlink()
        eventually(path.is_socket, "it is bound", _WITHIN)
        assert _echoes(path)


def test_what_another_put_there_is_left_alone(
    world: World, sshd: OpenSSHServer, path: Path
) -> None:
    with EchoService() as echo:
        world.tunnel(sshd, dock=f"local: {path}, to: {echo.port}")
        world.ok("up", "dev", "-d")
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            inode = path.stat().st_ino
            forward = world.forward("dev", "dock")
            assert (forward["state"], forward["last_error"]["code"]) == ("failed", "port-in-use")
            assert path.stat().st_ino == inode
        path.unlink()
        eventually(lambda: world.run("ps").returncode == 0, "it is bound anew", _WITHIN)
        assert _echoes(path)
