"""Fixtures for every test: a private sshd, a private world for the command, and a leak check."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import tunnelctl
from tests.support.leaks import nothing_left
from tests.support.sshd import OpenSSHServer
from tests.support.world import World, private_world

# A busy machine is no fault of an example's.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_GRACE = 5.0  # seconds for what is ending already to end
# What the session of whoever runs the tests says about its user.
_OF_A_SESSION = re.compile(
    r"(SSH|XDG|DBUS|WAYLAND)_.*|DISPLAY|GNUPGHOME|TUNNELCTL_(CONFIG_DIR|SOCKET)"
)


def pytest_configure(config: pytest.Config) -> None:
    """No test sees the keys, the ssh_config, the agent or the profiles of the user who runs it, nor
    the signals that are ignored where it runs: in the background of a script, or under nohup."""
    if os.environ.get("TUNNELCTL_EXPECT_COMPILED"):  # tools/compiled.py
        assert tunnelctl.is_compiled(), f"not the compiled package: {tunnelctl.__file__}"
    home = tempfile.mkdtemp(prefix="tctl-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in list(os.environ):
        if _OF_A_SESSION.fullmatch(name):
            del os.environ[name]
    os.environ["HOME"] = home
    for number, action in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Has the longest tests begin first: nobody waits for one of them at the end of a run.

    Most of them wait for timers and leases. Half of pytest-xdist's workers, each of which begins
    with an equal part of the list, share them, so that the others keep the processors busy.
    """
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    lanes = max(1, workers // 2)
    long = [item for item in items if item.get_closest_marker("long")]
    rest = [item for item in items if not item.get_closest_marker("long")]
    items.clear()
    for worker in range(workers):
        items += long[worker::lanes] if worker < lanes else []
        items += rest[len(rest) * worker // workers : len(rest) * (worker + 1) // workers]


def pytest_collection_finish() -> None:
    """Takes what importing and collecting made out of the garbage collector's rounds.

    A round after each test then looks at what the tests themselves made, in a tenth of the time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fails a test that leaves a thread, a file descriptor or a child process behind."""
    with nothing_left():
        yield


@pytest.fixture(autouse=True)
def no_swallowed_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test in which a callback of the event loop raised: asyncio only logs that."""
    yield
    said = [r.getMessage() for r in caplog.get_records("call") if r.name == "asyncio"]
    assert not said, "\n".join(said)


@pytest.fixture
def sshd(no_leaks: None, tmp_path: Path) -> Iterator[OpenSSHServer]:
    """A running OpenSSH server of the test's own."""
    server = OpenSSHServer(tmp_path / "sshd")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def world(no_leaks: None) -> Iterator[World]:
    """A private user; a daemon that outlives the test is ended, and must end when told to."""
    with private_world() as private:
        yield private
