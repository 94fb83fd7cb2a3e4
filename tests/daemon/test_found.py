"""The daemon is always found: what is removed is made anew, and whoever looks elsewhere is told."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.nobody import NOBODY, needs_root
from tests.support.processes import is_running
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.client import Client
from tunnelctl.daemon.control_socket import claim
from tunnelctl.errors import Code, Failure
from tunnelctl.home.paths import Paths
from tunnelctl.net import user_lock

_WITHIN = 10.0  # seconds, SPEC.md's promise 8


def _remove_session(paths: Paths) -> None:
    shutil.rmtree(paths.runtime_dir.parent)


def _remove_folder(paths: Paths) -> None:
    shutil.rmtree(paths.runtime_dir)


def _remove_socket(paths: Paths) -> None:
    paths.socket.unlink()


def _remove_lock(paths: Paths) -> None:
    paths.lock.unlink()


def _leave_a_dead_socket(paths: Paths) -> None:
    """In its place, as of a daemon that was killed."""
    paths.socket.unlink()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(paths.socket))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    "remove",
    [_remove_session, _remove_folder, _remove_socket, _remove_lock, _leave_a_dead_socket],
)
def test_what_is_removed_is_made_anew(
    embedded: World, paths: Paths, remove: Callable[[Paths], None]
) -> None:
    embedded.ok("up", "dev", "-d")
    pid = embedded.daemon_pid()
    remove(paths)
    eventually(
        lambda: paths.lock.exists() and embedded.run("ps").returncode == 0, "it is found", _WITHIN
    )
    assert embedded.daemon_pid() == pid
    assert _mode(paths.runtime_dir) == 0o700
    assert _mode(paths.socket) == _mode(paths.lock) == 0o600
    # Whoever holds the lock is the daemon.
    assert claim(paths) is None
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_running(pid), "it ends", 15)
    assert not paths.socket.exists()


def test_a_command_in_between_waits_and_starts_no_second_one(embedded: World, paths: Paths) -> None:
    embedded.ok("up", "dev", "-d")
    pid = embedded.daemon_pid()
    _remove_session(paths)
    embedded.ok("up", "other", "-d")
    assert embedded.daemon_pid() == pid
    # A process that is about to end may be seen once.
    eventually(lambda: embedded.processes() == [pid], "there is one daemon")
    assert {profile["name"] for profile in embedded.status()["profiles"]} == {"dev", "other"}


def test_who_is_connected_stays_so(embedded: World, paths: Paths, client: Client) -> None:
    embedded.ok("up", "dev", "-d")
    with client.events() as stream:
        _remove_socket(paths)
        eventually(lambda: embedded.run("ps").returncode == 0, "it is found", _WITHIN)
        embedded.ok("restart", "dev")
        event = stream.next(_WITHIN)
        assert event is not None
        assert event.profile == "dev"


def _make_impossible(paths: Paths) -> None:
    shutil.rmtree(paths.runtime_dir.parent)
    paths.runtime_dir.parent.write_text("no folder can be made here")


def test_where_it_cannot_be_made_a_commands_daemon_ends(embedded: World, paths: Paths) -> None:
    embedded.ok("up", "dev", "-d")
    pid = embedded.daemon_pid()
    _make_impossible(paths)
    eventually(lambda: not is_running(pid), "nobody could reach it", 25)
    assert "clients cannot reach this daemon" in paths.log_file.read_text()
    assert "stopped" in paths.log_file.read_text().splitlines()[-1]
    # What was wanted is not forgotten.
    paths.runtime_dir.parent.unlink()
    embedded.ok("up", "other", "-d")
    assert {profile["name"] for profile in embedded.status()["profiles"]} == {"dev", "other"}


def test_a_services_daemon_works_on_and_is_found_when_it_can(embedded: World, paths: Paths) -> None:
    with embedded.start("daemon", "dev") as daemon:
        try:
            eventually(lambda: embedded.run("ps").returncode == 0, "it is up")
            _make_impossible(paths)
            assert daemon.stderr is not None
            for line in daemon.stderr:
                if "clients cannot reach this daemon" in line or "cannot find this daemon" in line:
                    break
            assert daemon.poll() is None
            paths.runtime_dir.parent.unlink()
            eventually(lambda: embedded.run("ps").returncode == 0, "it is found", _WITHIN)
            assert embedded.daemon_pid() == daemon.pid
        finally:
            daemon.terminate()
            daemon.communicate(timeout=20)
    assert daemon.returncode == 0


def test_a_place_that_another_daemon_took_is_not_fought_over(paths: Paths) -> None:
    first = claim(paths)
    assert first is not None
    shutil.rmtree(paths.runtime_dir)
    user_lock_file = paths.user_lock
    user_lock_file.unlink()  # as on a disk without locks
    second = claim(paths)
    try:
        assert second is not None
        assert not first.is_in_place
        with pytest.raises(Failure) as refused:
            first.renew()
        assert refused.value.code is Code.ALREADY_RUNNING
        assert second.is_in_place
    finally:
        for each in (first, second):
            if each is not None:
                each.close()
                each.release()


# --- who looks elsewhere -------------------------------------------------------------------------


def test_without_the_sessions_variables_the_way_to_the_daemon_is_said(
    embedded: World, paths: Paths
) -> None:
    embedded.ok("up", "dev", "-d")
    pid = embedded.daemon_pid()
    (embedded.home / "cron").mkdir(mode=0o700)
    cron = {"XDG_RUNTIME_DIR": str(embedded.home / "cron")}
    for arguments, code in ((("ps",), 3), (("up", "other", "-d"), 1), (("daemon", "other"), 1)):
        done = embedded.run(*arguments, environ=cron)
        assert done.returncode == code, done.stderr
        assert str(paths.socket) in done.stderr
        assert f"TUNNELCTL_SOCKET={paths.socket} tunnelctl" in done.stderr
    assert embedded.processes() == [pid]
    there = {**cron, "TUNNELCTL_SOCKET": str(paths.socket)}
    assert embedded.run("up", "other", "-d", environ=there).returncode == 0
    assert embedded.daemon_pid() == pid


def test_down_does_not_say_that_nothing_is_up_where_the_daemon_is_elsewhere(
    embedded: World, paths: Paths
) -> None:
    embedded.ok("up", "dev", "-d")
    (embedded.home / "cron").mkdir(mode=0o700)
    cron = {"XDG_RUNTIME_DIR": str(embedded.home / "cron")}
    for arguments in (("down", "dev"), ("down", "--all")):
        done = embedded.run(*arguments, environ=cron)
        assert done.returncode == 3, done.stderr
        assert f"yours is on {paths.socket}" in done.stderr
        assert f"TUNNELCTL_SOCKET={paths.socket} tunnelctl" in done.stderr
    assert embedded.status()["profiles"][0]["wanted"] == "up"


def test_down_names_a_daemon_that_has_a_socket_of_its_own(embedded: World, paths: Paths) -> None:
    """It is no fault that nothing is up here; but that may not be what was meant."""
    own = embedded.home / "second" / "control.sock"
    second = {"TUNNELCTL_SOCKET": str(own)}
    assert embedded.run("up", "dev", "-d", environ=second).returncode == 0
    done = embedded.run("down", "dev")
    assert done.returncode == 0
    assert f"no daemon answers on {paths.socket}; another of yours is on {own}" in done.stderr
    assert f"TUNNELCTL_SOCKET={own} tunnelctl" in done.stderr
    assert f"another of yours is on {own}" in embedded.run("ps").stderr
    assert embedded.run("down", "dev", environ=second).returncode == 0
    eventually(lambda: not embedded.processes(), "it has ended")
    # The other way round, it is the user's own that may have been meant.
    embedded.ok("up", "dev", "-d")
    third = {"TUNNELCTL_SOCKET": str(embedded.home / "third" / "control.sock")}
    done = embedded.run("down", "dev", environ=third)
    assert done.returncode == 0
    assert f"another of yours is on {paths.socket}" in done.stderr
    assert embedded.status()["profiles"][0]["wanted"] == "up"


def test_a_second_daemon_is_had_by_naming_its_socket(embedded: World) -> None:
    embedded.ok("up", "dev", "-d")
    second = {"TUNNELCTL_SOCKET": str(embedded.home / "second" / "control.sock")}
    done = embedded.run("up", "other", "-d", environ=second)
    assert done.returncode == 0, done.stderr
    assert len(embedded.processes()) == 2
    assert "other" not in {profile["name"] for profile in embedded.status()["profiles"]}


def test_the_users_lock_needs_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "x.lock"
    assert user_lock.take(path, tmp_path) is None
    assert user_lock.holder(path) is None


def test_the_users_lock_says_where_as_long_as_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    longer = Path("/run/a/much/longer/path")
    lock = user_lock.take(path, longer)
    assert lock is not None
    assert user_lock.holder(path) == longer
    with pytest.raises(user_lock.LockHeld):
        user_lock.take(path, Path("/run/y"))
    os.close(lock)
    assert user_lock.holder(path) is None
    again = user_lock.take(path, Path("/run/y"))
    assert again is not None
    assert user_lock.holder(path) == Path("/run/y")
    os.close(again)


# --- somebody else's folder ----------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("below", ["", "deeper"])
def test_root_makes_no_folder_in_somebody_elses(embedded: World, below: str) -> None:
    theirs = embedded.home / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, NOBODY, NOBODY)
    sudo = {"XDG_RUNTIME_DIR": str(theirs / below)}
    for arguments in (("up", "dev", "-d"), ("daemon", "dev")):
        done = embedded.run(*arguments, environ=sudo)
        assert done.returncode == 73, done.stderr
        assert f"{theirs} belongs to user id {NOBODY}" in done.stderr
        assert "sudo without -E" in done.stderr
    assert not any(theirs.iterdir())
    assert not embedded.processes()
