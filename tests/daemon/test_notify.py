"""docs/faults.md: a stuck loop starves the watchdog, and its stack traces are logged."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.processes import is_halted
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.state.election import MARGIN

_LEASE = 10.0  # seconds
# A loop whose heart beats every 0.1 s, and which is stuck once it reads a line.
_STUCK = """\
import asyncio, os, sys
from pathlib import Path
from tunnelctl.daemon.notify import Heart, ServiceManager, open_dumps

def hang_here(freed):
    os.read(0, 1)
    asyncio.get_running_loop().call_later(0.2, freed.set)  # two beats from now

async def main():
    freed = asyncio.Event()
    dumps = open_dumps(Path(sys.argv[1]))
    heart = Heart(ServiceManager(os.environ), dumps)
    asyncio.get_running_loop().call_later(0.5, hang_here, freed)
    await freed.wait()
    heart.close()
    dumps.close()

asyncio.run(main())
"""


@pytest.fixture
def manager(world: World) -> Iterator[socket.socket]:
    """The socket of a service manager, which wants a sign of life each second."""
    path = world.home / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(30)
        world.environ.update({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"})
        yield sock


def said(manager: socket.socket, seconds: float = 30.0) -> str:
    """The next message, or nothing."""
    manager.settimeout(seconds)
    try:
        return manager.recv(100).decode()
    except TimeoutError:
        return ""


def drained(manager: socket.socket) -> None:
    """Nothing that was sent before is left to read."""
    while said(manager, 0.01):
        pass


def test_the_watchdog_is_fed_while_the_daemon_lives(world: World, manager: socket.socket) -> None:
    with world.start("daemon") as daemon:
        try:
            heard = {said(manager) for _ in range(6)}
            assert heard == {"READY=1", "WATCHDOG=1"}
            os.kill(daemon.pid, signal.SIGSTOP)
            eventually(lambda: is_halted(daemon.pid), "it is stopped")
            drained(manager)
            assert said(manager, 1.5) == ""
            os.kill(daemon.pid, signal.SIGCONT)
            assert said(manager) == "WATCHDOG=1"
            daemon.terminate()
            while (last := said(manager)) == "WATCHDOG=1":
                pass
            assert last == "STOPPING=1"
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
            daemon.terminate()
            daemon.communicate(timeout=15)


def test_in_a_fleet_the_watchdog_is_shorter_than_the_margin_of_the_lease(
    world: World, manager: socket.socket
) -> None:
    world.environ["WATCHDOG_USEC"] = "30000000"  # that of the unit
    world.profile("web", "version: 1\nhosts: {here: {embedded: true}}\n")
    file = world.home / "fleet.yml"
    store = f"etcd: {{endpoints: http://127.0.0.1:{free_port()}}}"
    file.write_text(f"version: 1\nfleet: web\nlease: {_LEASE:g}s\n{store}\n")
    with world.start("daemon", "--fleet", str(file), "web") as daemon:
        try:
            name, _, microseconds = said(manager).partition("=")
            assert name == "WATCHDOG_USEC"  # before systemd counts from READY=1
            seconds = int(microseconds) / 1e6
            assert 0 < seconds < _LEASE * MARGIN
            heard = {said(manager) for _ in range(4)}
            assert "WATCHDOG=1" in heard
            assert heard <= {"READY=1", "WATCHDOG=1"}
            os.kill(daemon.pid, signal.SIGSTOP)
            eventually(lambda: is_halted(daemon.pid), "it is stopped")
            drained(manager)
            assert said(manager, seconds) == ""
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
            daemon.terminate()
            daemon.communicate(timeout=15)


def test_a_stuck_loop_is_silent_and_its_stacks_are_kept(
    world: World, manager: socket.socket, tmp_path: Path
) -> None:
    dump = tmp_path / "state" / "stuck"
    with subprocess.Popen(
        [sys.executable, "-c", _STUCK, str(dump)], env=world.environ, stdin=subprocess.PIPE
    ) as stuck:
        assert stuck.stdin is not None
        assert said(manager) == "WATCHDOG=1"
        eventually(lambda: "hang_here" in _text(dump), "the stacks are there")
        drained(manager)
        assert said(manager, 1.0) == ""
        stuck.stdin.close()  # it goes on
        assert said(manager) == "WATCHDOG=1"
        assert stuck.wait(20) == 0
    assert dump.stat().st_mode & 0o777 == 0o600


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_no_manager_is_no_trouble(world: World, address: str) -> None:
    world.environ.update({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    with world.start("daemon") as daemon:
        try:
            eventually(lambda: world.run("ps").returncode == 0, "it answers")
        finally:
            daemon.terminate()
            daemon.communicate(timeout=15)
    assert daemon.returncode == 0
