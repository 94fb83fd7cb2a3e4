"""A running server for all tests of it, started once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leaks import nothing_left
from tests.support.servers import require
from tests.support.servers.base import Server


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server of a class, for all its tests; skips what is not installed."""
    kind: type[Server] = request.param
    require(kind)
    # Not tmp_path_factory: a unix socket's path may have 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="tctl-server-"))
    server = kind(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """As for every test; a server of many tests starts and ends processes as it likes."""
    server = request.getfixturevalue("server") if "server" in request.fixturenames else None
    with nothing_left(lambda: server.family.children if server is not None else ()):
        yield
