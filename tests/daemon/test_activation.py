"""A daemon on a socket that a service manager holds (sd_listen_fds(3), sd_notify(3))."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths

# As a service manager does it: the socket is descriptor 3, and the process is told that it is its.
_MANAGER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        path.chmod(0o600)
        sock.listen()
        yield sock


def start(world: World, descriptor: int, count: int = 1, **environ: str) -> subprocess.Popen[str]:
    daemon = (sys.executable, "-m", "tunnelctl", "daemon")
    return subprocess.Popen(
        [sys.executable, "-c", _MANAGER, str(descriptor), str(count), *daemon],
        cwd=world.home,
        env={**world.environ, **environ},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[descriptor],
    )


def test_clients_come_before_the_daemon_and_after_it(
    embedded: World, paths: Paths, client: Client
) -> None:
    heard: list[str] = []
    manager_path = embedded.home / "notify"
    with listening(paths.socket) as sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(manager_path))
        ear.settimeout(20)
        for _ in range(2):
            process = start(embedded, sock.fileno(), NOTIFY_SOCKET=str(manager_path))
            try:
                # Nobody waited: who connects before it accepts is served once it does.
                assert client.status(within=60).daemon.pid == process.pid
                while "READY=1" not in heard:
                    heard += ear.recv(4096).decode().splitlines()
                embedded.ok("up", "dev", "-d")
                assert json.loads(embedded.ok("ps", "--json"))["profiles"][0]["state"] == "up"
            finally:
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=20)
            assert process.returncode == 0, errors
            assert paths.socket.exists(), "it is the manager's to remove"
            while "STOPPING=1" not in heard:
                heard += ear.recv(4096).decode().splitlines()
            heard.clear()


def test_another_socket_is_refused(world: World, paths: Paths) -> None:
    with listening(paths.socket.with_name("other.sock")) as sock:
        process = start(world, sock.fileno())
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "other.sock" in errors
    assert "ListenStream=" in errors


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_no_socket_or_too_much_is_refused(world: World, count: int) -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        process = start(world, descriptor, count)
        _, errors = process.communicate(timeout=20)
    finally:
        os.close(descriptor)
    assert process.returncode == 2
    assert "service manager passed" in errors


def test_what_is_for_another_process_is_not_ours(world: World, paths: Paths) -> None:
    world.environ.update(LISTEN_PID="1", LISTEN_FDS="1")
    process = world.start("daemon")
    try:
        eventually(lambda: world.run("ps").returncode == 0, "it answers at a socket of its own")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert not paths.socket.exists()
