"""Two terminals that hold a profile: they start, end in every possible way, and are suspended.

A terminal that still holds the profile keeps its tunnel and connections; after the last one the
tunnel is closed. Must never touch the profile that the traffic uses.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.soak.scene import HELD
from benchmarks.soak.stage import Moments, Stage
from tests.support.services import connect
from tests.support.waiting import eventually

_ENDINGS = (signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
_COMMANDS = (("up", HELD), ("run", HELD, "--", "cat"))  # cat ends with its standard input
_WITHIN = 30.0  # seconds, on a busy machine
_SUSPENDED = 5.0  # seconds at most


def come_and_go(stage: Stage) -> Moments:
    """Two start; one ends; the other is suspended and continued; then it ends too."""
    begun = time.monotonic()
    first, second = stage.chance.sample(_COMMANDS, 2)
    with (
        _holds(stage, first, 1) as one,
        connect(stage.scene.ports.held) as kept,
        _holds(stage, second, 2) as two,
    ):
        leaves, stays = stage.chance.sample([one, two], 2)
        _end(stage, leaves)
        eventually(lambda: _held_by(stage, 1), "one holds it", _WITHIN)
        _serves(stage, kept)
        stays.send_signal(signal.SIGSTOP)
        stage.scene.over.wait(min(stage.duration(), _SUSPENDED))
        _serves(stage, kept)
        stays.send_signal(signal.SIGCONT)
        if not _held_by(stage, 1):
            stage.ledger.violate("a suspended terminal does not hold its profile any more")
        kept.close()  # no event to wait for
        _end(stage, stays)
    eventually(lambda: _is_down(stage), "it is down after the last one", _WITHIN)
    return Moments(begun, time.monotonic())


@contextmanager
def _holds(stage: Stage, command: tuple[str, ...], count: int) -> Iterator[subprocess.Popen[str]]:
    """A running command, once `count` of them hold the profile and it is up."""
    process = stage.scene.world.start(*command, stdin=subprocess.PIPE)
    try:
        eventually(lambda: _held_by(stage, count) and _is_up(stage), "it is held", _WITHIN)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _end(stage: Stage, process: subprocess.Popen[str]) -> None:
    """End it in a random way; its child gets the signal too, as from a terminal."""
    os.killpg(process.pid, stage.chance.choice(_ENDINGS))
    process.wait(_WITHIN)


def _serves(stage: Stage, kept: socket.socket) -> None:
    """The connection still works, and another can be opened."""
    try:
        stage.exchange(HELD, kept)
        with connect(stage.scene.ports.held) as another:
            stage.exchange(HELD, another)
    except (OSError, EOFError) as error:
        stage.ledger.violate(f"a profile that is held does not serve: {error}")


def _held_by(stage: Stage, count: int) -> bool:
    holders: dict[str, object] = stage.scene.status(HELD).get("holders", {})
    return holders.get("commands", 0) == count


def _is_up(stage: Stage) -> bool:
    return bool(stage.scene.status(HELD).get("state") == "up")


def _is_down(stage: Stage) -> bool:
    """Neither in status nor listening."""
    if stage.scene.status(HELD).get("wanted") == "up":
        return False
    try:
        connect(stage.scene.ports.held).close()
    except ConnectionError:
        return True
    return False
