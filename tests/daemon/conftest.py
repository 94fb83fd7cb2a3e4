"""A world with a profile that runs on the embedded server, and a client of its daemon."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.profiles import EMBEDDED
from tests.support.world import World, private_world
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths


@pytest.fixture
def embedded(world: World) -> World:
    """A world that knows the profiles `dev` and `other`, both on the embedded server."""
    return _with_profiles(world)


def _with_profiles(world: World) -> World:
    world.profile("dev", EMBEDDED)
    world.profile("other", EMBEDDED)
    return world


@pytest.fixture
def paths(world: World) -> Paths:
    """Where that world's daemon listens."""
    return Paths.from_environ(world.environ, world.home)


@pytest.fixture
def client(paths: Paths) -> Client:
    """A client of that world's daemon."""
    return Client(paths)


class Answer:
    """What the control API answered, read by the standard library's HTTP client."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object."""
        document: dict[str, Any] = json.loads(self.body)
        return document


class Api:
    """The control API as any program meets it: HTTP/1.1 over the socket."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def connect(self) -> socket.socket:
        """A bare connection."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(str(self.path))  # waits where the backlog is full; with a timeout it fails
        sock.settimeout(20)
        return sock

    def ask(self, method: str, target: str, body: object = None, raw: bytes = b"") -> Answer:
        """One request; `body` is sent as JSON, or `raw` as it is."""
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = self.connect()
        try:
            payload = raw if body is None else json.dumps(body).encode()
            connection.request(method, target, payload or None)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()


@pytest.fixture
def api(embedded: World, paths: Paths) -> Api:
    """The API of a running daemon with `dev` up."""
    embedded.ok("up", "dev", "-d")
    return Api(paths.socket)


@pytest.fixture(scope="module")
def shared_api() -> Iterator[Api]:
    """The same, for all tests of a module that leave the daemon as it is: its start is what takes
    most of the time of such a test."""
    with private_world() as world:
        _with_profiles(world).ok("up", "dev", "-d")
        yield Api(Paths.from_environ(world.environ, world.home).socket)
