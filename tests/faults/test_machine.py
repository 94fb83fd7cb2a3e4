"""docs/faults.md, rows 16 and 25: a full disk, and programs that would outlive the daemon."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import BACK, NOTICED, Tunnel
from tests.support.clients import exchange
from tests.support.processes import command_line, descendants, is_running
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.home.paths import Paths

_ENDS_WITHIN = 10.0  # seconds
needs_socat = pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")


@pytest.fixture
def small_disk(world: World) -> Iterator[Path]:
    """A disk of 256 KiB, for the daemon's log and state alone."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(world.state)]
    if os.geteuid() != 0:
        pytest.skip("file systems are mounted by root")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield world.state
    finally:
        world.close()
        subprocess.run(["umount", str(world.state)], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def test_a_disk_that_is_full(tunnel: Tunnel, sshd: OpenSSHServer, small_disk: Path) -> None:
    paths = Paths.from_environ(tunnel.world.environ, tunnel.world.home)
    with EchoService() as echo:
        tunnel.up(sshd, f"127.0.0.1:{echo.port}")
        wanted = paths.wanted_file.read_bytes()
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space left"):
            fill(filler)
        with tunnel.answering(), tunnel.connection() as client:
            assert exchange(client, b"goes on") == b"goes on"
            tunnel.world.profile("other", "version: 1\nhosts: {here: {embedded: true}}\n")
            tunnel.world.ok("up", "other", "-d")
            for _ in range(3):
                sshd.kill_sessions()
                tunnel.is_noticed(NOTICED)
                tunnel.is_back(BACK)
            warnings = tunnel.client.status().daemon.warnings
            assert len(warnings) == len({w.partition(" cannot be")[0] for w in warnings})
            assert any("No space left" in warning for warning in warnings)
        assert paths.wanted_file.read_bytes() == wanted, "the old one is whole"
        filler.unlink()
        tunnel.world.ok("restart", "dev")
        tunnel.world.ok("down", "other")
        eventually(lambda: not tunnel.client.status().daemon.warnings, "it is over")


@needs_socat
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_the_program_on_the_way_ends_with_the_daemon(
    tunnel: Tunnel, sshd: OpenSSHServer, end: signal.Signals
) -> None:
    with EchoService() as echo:
        tunnel.up(
            sshd,
            f"127.0.0.1:{echo.port}",
            proxy_command=f"[socat, STDIO, 'TCP:127.0.0.1:{sshd.port}']",
        )
        daemon = tunnel.world.daemon_pid()
        programs = [pid for pid in descendants(daemon) if "socat" in command_line(pid)]
        assert programs
        with tunnel.answering():
            tunnel.serves(b"through a program")
        os.kill(daemon, end)
        eventually(lambda: not is_running(daemon), "the daemon is gone", _ENDS_WITHIN)
        eventually(lambda: not any(map(is_running, programs)), "so is the program", _ENDS_WITHIN)


def test_a_program_that_never_connects_ends_with_the_daemon(
    tunnel: Tunnel, sshd: OpenSSHServer
) -> None:
    tunnel.world.profile(
        "dev",
        "version: 1\nhosts: {far: {hostname: far.example, proxy_command: [sleep, '1000']}}\n"
        "forwards: {x: {local: 0, to: 9, via: far}}\n",
    )
    tunnel.world.run("up", "dev", "-d", "--wait-timeout", "500ms")
    daemon = tunnel.world.daemon_pid()
    programs = eventually(lambda: descendants(daemon), "the program runs")
    with tunnel.answering():
        assert tunnel.state == "connecting"
    os.kill(daemon, signal.SIGTERM)
    eventually(lambda: not is_running(daemon), "the daemon is gone", _ENDS_WITHIN)
    eventually(lambda: not any(map(is_running, programs)), "so is the program", _ENDS_WITHIN)
