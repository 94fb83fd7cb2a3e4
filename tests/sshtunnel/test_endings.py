"""How a program that uses the drop-in ends, forks and looks at it: it must never hang for it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.sshtunnel.test_drop_in import _arguments
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tunnelctl.sshtunnel import SSHTunnelForwarder

_PROGRAM = """
import os, sys
from tunnelctl.sshtunnel import SSHTunnelForwarder
tunnel = SSHTunnelForwarder(
    ("127.0.0.1", {port}), ssh_username={user!r}, ssh_pkey={key!r}, ssh_host_key={pin!r},
    ssh_config_file=None, host_pkey_directories=[], allow_agent=False,
    remote_bind_address=("127.0.0.1", 9),
)
tunnel.start()
print("started", flush=True)
"""


def _run(sshd: OpenSSHServer, more: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    arguments = _arguments(sshd, 9)
    program = _PROGRAM.format(
        port=sshd.port, user=sshd.user, key=str(sshd.identity), pin=arguments["ssh_host_key"]
    )
    return subprocess.run(
        [sys.executable, "-c", program + more],
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("last", ["", "sys.kept = tunnel", "sys.exit(0)"])
def test_a_program_ends_that_did_not_stop_it(
    sshd: OpenSSHServer, tmp_path: Path, last: str
) -> None:
    done = _run(sshd, last, tmp_path)
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr


def test_a_forked_child_sees_stops_and_starts_without_its_parents(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    done = _run(
        sshd,
        """
if os.fork() == 0:
    print("child", tunnel.is_active, tunnel.local_bind_port > 0, flush=True)
    tunnel.restart()
    print("child's own", tunnel.is_active, flush=True)
    tunnel.stop()
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    sys.exit(0)
_, status = os.wait()
print("parent", status, tunnel.is_active, flush=True)
tunnel.stop()
""",
        tmp_path,
    )
    said = ["started", "child False True", "child's own True", "parent 0 True"]
    assert (done.returncode, done.stdout.splitlines()) == (0, said), done.stderr


def test_it_is_looked_at_while_it_is_stopped(sshd: OpenSSHServer) -> None:
    for _ in range(5):
        with SSHTunnelForwarder(**_arguments(sshd, 9)) as tunnel:
            lookers = [_Looker(tunnel) for _ in range(4)]
            for looker in lookers:
                looker.start()
            for looker in lookers:
                eventually(looker.seen.is_set, "it is looked at")
        for looker in lookers:
            looker.done.set()
            looker.join(5)
        assert not any(looker.is_alive() for looker in lookers)
        assert not tunnel.is_active


class _Looker(threading.Thread):
    """As a program that watches its tunnel does, until `done`."""

    def __init__(self, tunnel: SSHTunnelForwarder) -> None:
        super().__init__(daemon=True)
        self.seen = threading.Event()
        self.done = threading.Event()
        self._tunnel = tunnel

    def run(self) -> None:
        while not self.done.is_set():
            self._tunnel.check_tunnels()
            if self._tunnel.is_active:
                self.seen.set()


def test_it_is_collected_by_its_own_thread(sshd: OpenSSHServer) -> None:
    tunnel = SSHTunnelForwarder(**_arguments(sshd, 9))
    tunnel.start()
    background = tunnel._tunnels
    assert background is not None
    tunnel.itself = tunnel
    gc.disable()
    try:
        del tunnel
        background._loop.call_soon_threadsafe(gc.collect)
        background._thread.join(10)
    finally:
        gc.enable()
    assert not background._thread.is_alive()
