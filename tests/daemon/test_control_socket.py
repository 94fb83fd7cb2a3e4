"""Who may be the daemon, and what it leaves alone."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from tests.support.nobody import as_nobody, needs_root
from tunnelctl.daemon.control_socket import ControlSocket, claim
from tunnelctl.errors import Code, Failure
from tunnelctl.home.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.from_environ({"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}, tmp_path)


@contextmanager
def claimed(paths: Paths) -> Iterator[ControlSocket]:
    control = claim(paths)
    assert control is not None
    try:
        yield control
    finally:
        control.close()
        control.release()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_directory_and_socket_are_for_their_user_alone(paths: Paths) -> None:
    umask = os.umask(0)
    try:
        with claimed(paths):
            assert mode(paths.runtime_dir) == 0o700
            assert mode(paths.socket) == 0o600
            assert mode(paths.lock) == 0o600
            # The umask of the process is what it was.
            assert os.umask(0) == 0
    finally:
        os.umask(umask)


def test_only_one_can_be_the_daemon(paths: Paths) -> None:
    with claimed(paths):
        assert claim(paths) is None
    with claimed(paths):
        pass


def test_a_socket_left_by_a_killed_daemon_is_replaced(paths: Paths) -> None:
    paths.runtime_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(paths.socket))
    with claimed(paths), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(paths.socket))


def test_a_socket_that_somebody_answers_on_is_left_alone(paths: Paths) -> None:
    paths.runtime_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(paths.socket))
        other.listen()
        with pytest.raises(Failure, match="another program listens"):
            claim(paths)
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(paths.socket))


def test_a_file_in_the_place_of_the_socket_is_left_alone(paths: Paths) -> None:
    paths.runtime_dir.mkdir(mode=0o700)
    paths.socket.write_text("precious")
    with pytest.raises(Failure, match="not a socket"):
        claim(paths)
    assert paths.socket.read_text() == "precious"


def test_closing_removes_the_own_socket_only(paths: Paths) -> None:
    with claimed(paths):
        paths.socket.unlink()
        paths.socket.write_text("another's")
    assert paths.socket.read_text() == "another's"


@pytest.mark.parametrize("bits", [0o710, 0o701, 0o770, 0o777])
def test_a_directory_that_others_can_enter_is_refused(paths: Paths, bits: int) -> None:
    paths.runtime_dir.mkdir()
    paths.runtime_dir.chmod(bits)
    with pytest.raises(Failure) as refused:
        claim(paths)
    assert refused.value.code is Code.PERMISSION_DENIED
    assert f"chmod 700 {paths.runtime_dir}" in refused.value.hint
    assert not paths.socket.exists()


@needs_root
@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("", "export HOME=FOLDER, or export XDG_RUNTIME_DIR=FOLDER"),
        ("/root", "env -u XDG_RUNTIME_DIR"),
    ],
)
def test_what_helps_is_what_the_environment_lacks(named: str, hint: str) -> None:
    """A user id without a home, as in a container; or another user's folder, as after su."""

    def refused() -> object:
        environ = {"XDG_RUNTIME_DIR": named} if named else {}
        try:
            return claim(Paths.from_environ(environ, Path("/")))
        except Failure as failure:
            return failure.code, failure.hint

    code, said = cast("tuple[Code, str]", as_nobody(refused))
    assert code is Code.PERMISSION_DENIED
    assert hint in said


def test_a_symbolic_link_in_the_place_of_the_directory_is_refused(
    paths: Paths, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    paths.runtime_dir.symlink_to(elsewhere)
    with pytest.raises(Failure, match="symbolic link"):
        claim(paths)
    assert not any(elsewhere.iterdir())


def test_a_symbolic_link_in_the_place_of_the_lock_is_refused(paths: Paths, tmp_path: Path) -> None:
    paths.runtime_dir.mkdir(mode=0o700)
    paths.lock.symlink_to(tmp_path / "made")
    with pytest.raises(Failure):
        claim(paths)
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(paths: Paths) -> None:
    paths.runtime_dir.mkdir(mode=0o700)
    os.chown(paths.runtime_dir, 65534, 65534)
    with pytest.raises(Failure, match="65534"):
        claim(paths)
