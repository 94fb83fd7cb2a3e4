"""A file that keeps its reader busy, read again by the daemon: what runs does not wait for it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.clients import exchange
from tests.support.hostile_files import HOSTILE_FILES
from tests.support.ports import free_port
from tests.support.services import EchoService, connect
from tests.support.waiting import eventually
from tests.support.world import World

# Seconds. On a quiet machine the longest is some milliseconds; before, it was ten to fifty seconds.
_WAITS = 1.0
_ANSWERS = 10.0

# tests/config/test_time.py has them all.
_SOME = (
    "a list that ends as a map",
    "commas",
    "opened lists",
    "unknown keys of a host",
    "the same key",
    "hosts",
    "hosts with a mistake",
    "forwards on one port",
    "permissions",
    "nested variables",
    "variables that are not set",
)

_DEV = "hosts: {{demo: {{embedded: true}}}}\nforwards:\n  echo: {{local: {}, to: {}, via: demo}}\n"
_MANY = "hosts: {demo: {embedded: true}}\nforwards:\n" + "".join(
    f"  f{n}: {{local: 0, to: 1, via: demo, probe: none}}\n" for n in range(400)
)


class Echo:
    """One connection that asks all the time; `longest` is how long an answer took."""

    def __init__(self, client: socket.socket) -> None:
        self.longest = 0.0
        self.count = 0
        self._client = client
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="echo")

    def __enter__(self) -> Echo:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            asked = time.monotonic()
            assert exchange(self._client, b"x") == b"x"
            self.longest = max(self.longest, time.monotonic() - asked)
            self.count += 1


@contextmanager
def echoing(port: int) -> Iterator[Echo]:
    with connect(port) as client, Echo(client) as echo:
        eventually(lambda: echo.count > 20, "it is echoed")
        echo.longest = 0.0
        yield echo


def test_no_connection_waits_while_a_file_is_read(world: World) -> None:
    port = free_port()
    with EchoService() as target:
        world.profile("dev", _DEV.format(port, target.port))
        world.profile("bad", _DEV.format(0, target.port))
        world.ok("up", "dev", "bad", "-d")
        with echoing(port) as echo:
            for name in _SOME:
                world.profile("bad", HOSTILE_FILES[name])
                asked = time.monotonic()
                done = world.run("reload", "bad")
                assert done.returncode == 78, (name, done.stderr)
                # A busy daemon is waited for, which is one line more.
                assert len(done.stderr.splitlines()) <= 103, name
                assert time.monotonic() - asked < _ANSWERS, name
                assert echo.longest < _WAITS, name


@pytest.mark.parametrize("command", [("reload", "many"), ("up", "many", "-d")])
def test_no_connection_waits_for_many_forwards(world: World, command: tuple[str, ...]) -> None:
    port = free_port()
    with EchoService() as target:
        world.profile("dev", _DEV.format(port, target.port))
        world.profile("many", _DEV.format(0, target.port))
        world.ok("up", "dev", "many", "-d")
        with echoing(port) as echo:
            world.profile("many", _MANY)
            world.ok(*command)
            assert echo.longest < _WAITS
            world.ok("down", "many")
            assert echo.longest < _WAITS
