"""SSH servers that are not OpenSSH's alone, each private to a test: one module a server.

`SERVERS` is all of them, in the order of docs/servers.md. `require` skips a test for what is not
installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.servers.asyncssh import AsyncsshServer
from tests.support.servers.base import Server
from tests.support.servers.conch import ConchServer
from tests.support.servers.dropbear import DropbearServer
from tests.support.servers.erlang import ErlangServer
from tests.support.servers.go import GoServer
from tests.support.servers.libssh import LibsshServer
from tests.support.servers.openssh import OpenSSHAnywhere
from tests.support.servers.paramiko import ParamikoServer
from tests.support.servers.proftpd import ProftpdServer
from tests.support.servers.tinyssh import TinysshServer

S = TypeVar("S", bound=Server)

SERVERS: tuple[type[Server], ...] = (
    OpenSSHAnywhere,
    DropbearServer,
    AsyncsshServer,
    ConchServer,
    ParamikoServer,
    ErlangServer,
    GoServer,
    LibsshServer,
    TinysshServer,
    ProftpdServer,
)


def require(server: type[Server]) -> None:
    """Skip the test where the server cannot run; .ci/run installs what it needs."""
    reason = server.missing()
    if reason is not None:
        pytest.skip(f"{server.name}: {reason}")


@contextmanager
def running(kind: type[S], directory: Path) -> Iterator[S]:
    """A server that listens, with its files in `directory`; ended at the end."""
    require(kind)
    server = kind(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
