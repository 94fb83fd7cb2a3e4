"""Profiles for programs: an embedded server that says hello, and OpenSSH's server with an echo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.profiles import EMBEDDED
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.world import tunnel_text


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """The file of a profile `hello` whose server is in the program, with a forward `hello`."""
    return _written(tmp_path / "hello.yaml", EMBEDDED)


@pytest.fixture
def echo(sshd: OpenSSHServer, tmp_path: Path) -> Iterator[Path]:
    """The file of a profile `echo` with a forward `echo` through OpenSSH's server."""
    with EchoService() as service:
        text = tunnel_text(sshd.host_yaml(), echo=f'local: 0, to: "127.0.0.1:{service.port}"')
        yield _written(tmp_path / "echo.yaml", text)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
