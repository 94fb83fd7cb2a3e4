"""The daemon's life: one a user, started when needed, ended in order, nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.processes import is_running, sees_all
from tests.support.profiles import EMBEDDED
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.home.paths import Paths

_ARENA = 64 * 1024 * 1024  # bytes that glibc (malloc/arena.c) reserves for one, at a multiple of it


def _start(line: str, which: int = 0) -> int:
    """Where a mapping of /proc/PID/maps begins; -1: where it ends."""
    return int(line.split()[0].split("-")[which], 16)


def pid_of(world: World) -> int:
    """The process that answers."""
    return int(world.status()["daemon"]["pid"])


def test_commands_that_race_get_one_daemon(embedded: World) -> None:
    commands = [embedded.start("up", name, "-d") for name in ("dev", "other", "dev", "other")]
    for command in commands:
        _, said = command.communicate(timeout=60)
        assert command.returncode == 0, said
    # The daemons that lost the race leave by themselves.
    eventually(lambda: embedded.processes() == [pid_of(embedded)], "one daemon is left")
    names = {profile["name"] for profile in embedded.status()["profiles"]}
    assert names == {"dev", "other"}


def test_a_killed_daemon_is_replaced(embedded: World) -> None:
    embedded.ok("up", "dev", "-d")
    killed = pid_of(embedded)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: not is_running(killed), "the daemon is gone")
    assert embedded.run("ps").returncode == 3
    embedded.ok("up", "dev", "-d")
    assert pid_of(embedded) != killed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(embedded: World, paths: Paths, number: int) -> None:
    embedded.ok("up", "dev", "-d")
    pid = pid_of(embedded)
    os.kill(pid, number)
    eventually(lambda: not is_running(pid), "the daemon ends", 10)
    assert not paths.socket.exists()
    assert "stopped" in paths.log_file.read_text().splitlines()[-1]


def test_a_hangup_does_not_end_it(embedded: World, paths: Paths) -> None:
    embedded.ok("up", "dev", "-d")
    pid = pid_of(embedded)
    os.kill(pid, signal.SIGHUP)
    eventually(lambda: "SIGHUP" in paths.log_file.read_text(), "it is noted")
    assert pid_of(embedded) == pid
    embedded.ok("ps")


def test_it_ends_by_itself_when_nothing_is_wanted(embedded: World, paths: Paths) -> None:
    embedded.ok("up", "dev", "-d")
    pid = pid_of(embedded)
    embedded.ok("down", "dev")
    eventually(lambda: not is_running(pid), "the idle daemon ends", 25)
    assert not paths.socket.exists()
    assert embedded.run("down", "dev").returncode == 0


def test_in_the_foreground_it_brings_profiles_up_and_stays(embedded: World) -> None:
    with embedded.start("daemon", "dev", "other") as daemon:
        try:
            eventually(lambda: embedded.run("ps").returncode == 0, "both are up")
            assert pid_of(embedded) == daemon.pid
            second = embedded.run("daemon")
            assert second.returncode == 1
            assert "answers" in second.stderr
            daemon.send_signal(signal.SIGTERM)
            _, log = daemon.communicate(timeout=15)
        finally:
            daemon.kill()
    assert daemon.returncode == 0
    assert "profile other up" in log


def test_in_the_foreground_a_wrong_profile_ends_it(world: World) -> None:
    world.profile("dev", "version: 1\nhosts: {demo: {prot: 1}}\n")
    done = world.run("daemon", "dev")
    assert done.returncode == 78
    assert "dev.yaml:1" in done.stderr or "dev.yaml:2" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_service_manager_hears_that_it_is_ready(embedded: World, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(embedded.home / "notify"))
        manager.settimeout(30)
        embedded.environ["NOTIFY_SOCKET"] = str(embedded.home / "notify")
        with embedded.start("daemon", "dev") as daemon:
            try:
                assert manager.recv(100) == b"READY=1"
                daemon.send_signal(signal.SIGTERM)
                assert manager.recv(100) == b"STOPPING=1"
                daemon.communicate(timeout=15)
            finally:
                daemon.kill()


def test_what_kept_it_from_starting_is_said(embedded: World, paths: Paths) -> None:
    paths.runtime_dir.mkdir()
    paths.runtime_dir.chmod(0o755)
    done = embedded.run("up", "dev", "-d")
    assert done.returncode == 73, done.stderr
    assert f"chmod 700 {paths.runtime_dir}" in done.stderr


def test_it_needs_no_place_for_its_log(embedded: World) -> None:
    embedded.environ["XDG_STATE_HOME"] = "/dev/null/nowhere"
    embedded.ok("up", "dev", "-d")


def test_no_core_dump_and_no_look_into_its_memory(embedded: World) -> None:
    embedded.ok("up", "dev", "-d")
    pid = pid_of(embedded)
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0", limits)
    if not sees_all():
        with pytest.raises(PermissionError):
            Path(f"/proc/{pid}/environ").read_bytes()
        return
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}


@pytest.mark.skipif(not sees_all(), reason="the daemon's memory is hidden from us")
def test_its_threads_share_one_arena(embedded: World) -> None:
    """Others would keep what logins freed: as much again as an idle host needs."""
    embedded.ok("up", "dev", "-d")
    maps = Path(f"/proc/{pid_of(embedded)}/maps").read_text().splitlines()
    arenas = [
        here
        for here, after in pairwise(maps)
        if " rw-p " in here and " ---p " in after and _start(after, -1) - _start(here) == _ARENA
        if _start(here) % _ARENA == 0
    ]
    assert not arenas


def test_the_log_is_private_and_holds_no_secret(world: World, paths: Paths) -> None:
    secret = "correct horse battery staple"
    world.environ["DB_PASSWORD"] = secret
    world.profile(
        "dev",
        "version: 1\nhosts:\n  gone:\n    hostname: 127.0.0.1\n    port: 1\n"
        "    user: me\n    password: {env: DB_PASSWORD}\n"
        "forwards: {x: {local: 0, to: 9, via: gone}}\n",
    )
    assert world.run("up", "dev", "-d", "--wait-timeout", "500ms").returncode == 75
    log = paths.log_file
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    eventually(lambda: "connection refused" in log.read_text(), "it was tried")
    for text in (log.read_text(), str(world.status()), world.run("ps").stderr):
        assert secret not in text


def test_every_line_of_the_log_is_one_line(world: World, paths: Paths) -> None:
    """A server's banner cannot write to whoever reads the log."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        port = listener.getsockname()[1]
        text = EMBEDDED.replace("embedded: true", f"hostname: 127.0.0.1, port: {port}, user: me")
        world.profile("dev", text)
        with world.start("up", "dev", "-d") as command:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"\x1b[2JSSH-2.0-\x1b]0;owned\x07\r\n" * 3)
                eventually(lambda: "backoff" in paths.log_file.read_text(), "it is given up")
            finally:
                command.kill()
                command.communicate()
    for line in paths.log_file.read_bytes().splitlines():
        assert re.match(rb"\d{4}-\d\d-\d\dT", line)
        assert not re.search(rb"[\x00-\x1f\x7f]", line)


_BROKEN = "version: 1\nhosts: {demo: {prot: 1}}\n"


def _states(world: World) -> dict[str, str]:
    return {profile["name"]: profile["state"] for profile in world.status()["profiles"]}


@pytest.mark.parametrize("names", [("broken", "gone", "dev"), ("dev", "gone", "broken")])
def test_a_profile_of_a_service_that_cannot_be_loaded_hurts_itself_alone(
    embedded: World, names: tuple[str, ...]
) -> None:
    embedded.profile("broken", _BROKEN)
    with embedded.start("daemon", *names, "no name") as daemon:
        try:
            eventually(lambda: embedded.run("ps").returncode == 1, "it answers")
            eventually(lambda: _states(embedded).get("dev") == "up", "the good one is up")
            assert _states(embedded) == {"dev": "up", "broken": "failed"}
            shown = embedded.run("ps")
            assert shown.returncode == 1
            assert "prot" in shown.stdout + shown.stderr
            # Mended, a reload has them up.
            embedded.profile("broken", EMBEDDED)
            embedded.profile("gone", EMBEDDED)
            embedded.ok("reload")
            eventually(lambda: set(_states(embedded).values()) == {"up"}, "all are up")
            assert set(_states(embedded)) == {"dev", "broken", "gone"}
        finally:
            daemon.terminate()
            _, log = daemon.communicate(timeout=20)
    assert "profile gone is not brought up: " in log
    assert "'no name' cannot be the name of a profile" in log


def test_a_daemon_without_any_good_profile_ends_with_the_first_ones_code(embedded: World) -> None:
    embedded.profile("broken", _BROKEN)
    assert embedded.run("daemon", "broken", "gone").returncode == 78
    assert embedded.run("daemon", "gone", "broken").returncode == 66


def test_every_one_of_a_hundred_goes_down_at_once(embedded: World) -> None:
    for number in range(100):
        embedded.profile(f"p{number}", EMBEDDED)
    embedded.ok("up", *(f"p{number}" for number in range(100)), "-d", seconds=240)
    done = embedded.run("down", "--all", seconds=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(" is down") == 100
