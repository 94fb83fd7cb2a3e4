"""The watch over the daemon's loop, which every test with a world has, sees what it is for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import World

_ON_LOOP = """
import asyncio, codecs, concurrent.futures.thread, os, pwd, socket, subprocess, sys, time
codecs.lookup('idna')
from tunnelctl.net.reactor import Reactor
def spin():
    until = time.thread_time() + 0.1
    while time.thread_time() < until: pass
class Busy:
    def ready(self, events): spin()
async def main():
    await asyncio.sleep(0)
    {}
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("socket.getaddrinfo('localhost', 1)", "socket.getaddrinfo 'localhost'"),
        ("open('/etc/passwd').close()", "open '/etc/passwd'"),
        ("os.stat('/etc/passwd')", "os.stat ('/etc/passwd',)"),
        ("os.listdir('/proc')", "os.listdir '/proc'"),
        ("subprocess.run(['true'])", "subprocess.Popen 'true'"),
        ("pwd.getpwuid(0)", "pwd.getpwuid (0,)"),
        ("os.fsync(os.open('/', os.O_RDONLY))", "os.fsync"),
        ("time.sleep(0.001)", "time.sleep (0.001,)"),
        ("import colorsys", "import 'colorsys'"),
        ("asyncio.get_running_loop().call_soon(spin); await asyncio.sleep(0.2)", "ms of CPU in"),
    ],
)
def test_what_it_complains_of(world: World, work: str, said: str) -> None:
    run(world, work)
    assert said in world.loop_report.read_text()
    world.loop_report.unlink()


@pytest.mark.parametrize(
    "work",
    [
        "socket.getaddrinfo('127.0.0.1', 1)",
        "await asyncio.to_thread(os.stat, '/etc/passwd')",
        "await asyncio.get_running_loop().getaddrinfo('localhost', 1)",
        "await asyncio.sleep(0.2)",
    ],
)
def test_what_it_does_not(world: World, work: str) -> None:
    run(world, work)
    assert not world.loop_report.exists()


def test_a_daemon_that_is_measured_is_not_watched(world: World) -> None:
    world.unwatch()
    run(world, "time.sleep(0.001)")
    assert not world.loop_report.exists()


def run(world: World, work: str) -> None:
    """Do it on the loop of a process that is called as the daemon is."""
    source = Path(world.home, "work.py")
    source.write_text(_ON_LOOP.format(work))
    environ = {**world.environ, "PYTHONWARNINGS": "default"}
    folder = os.pathsep.join([environ["PYTHONPATH"], os.getcwd()])
    command = [sys.executable, str(source), "daemon"]
    done = subprocess.run(
        command, env={**environ, "PYTHONPATH": folder}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
