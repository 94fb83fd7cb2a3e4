"""docs/faults.md: a real network link goes down. Needs root, else it is skipped with the reason.

The link is away for TUNNELCTL_LINK_DOWN seconds, 3 unless set; ten and more are as good.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import BACK, NOTICED, Tunnel, is_reset
from tests.support.clients import exchange
from tests.support.namespaces import Namespace, namespace
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import BUSY

_DOWN = float(os.environ.get("TUNNELCTL_LINK_DOWN", "3"))
# After a change of the network a host is tried at once, whatever its wait.
_AT_ONCE = 2.0 + BUSY
_NEVER = {"reconnect": "{min: 600s, max: 600s}"}


@pytest.fixture
def network(no_leaks: None) -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@pytest.fixture
def far(network: Namespace, tmp_path: Path) -> Iterator[OpenSSHServer]:
    """A server at the far end."""
    server = OpenSSHServer(tmp_path / "far", address=network.there, inside=network.inside)
    server.start()
    yield server
    server.stop()


def away() -> None:
    """As long as the link is down."""
    threading.Event().wait(_DOWN)


@pytest.mark.parametrize("here", [True, False], ids=["at our end", "at the far end"])
def test_a_link_that_goes_down_and_up(
    tunnel: Tunnel, network: Namespace, far: OpenSSHServer, here: bool
) -> None:
    with EchoService(host=network.here) as echo:
        tunnel.up(far, f"{network.here}:{echo.port}", **_NEVER)
        with tunnel.answering(), tunnel.connection() as client:
            assert exchange(client, b"before") == b"before"
            network.pull(here=here)
            # As soon as the machine tells of it the link is asked for a sign of life.
            tunnel.is_noticed(NOTICED + 4)
            assert is_reset(client)
            away()
            network.plug(here=here)
            tunnel.is_back(_AT_ONCE)


def test_a_route_to_the_server_that_goes_and_comes(
    tunnel: Tunnel, network: Namespace, far: OpenSSHServer
) -> None:
    """No address and no default route changes. The server is silent by no fault of its own."""
    with EchoService(host=network.here) as echo:
        tunnel.up(far, f"{network.here}:{echo.port}", **_NEVER)
        with tunnel.answering(), tunnel.connection() as client:
            assert exchange(client, b"before") == b"before"
            with network.unreachable():
                tunnel.is_noticed(NOTICED + 4)
                assert is_reset(client)
                away()
            tunnel.is_back(_AT_ONCE)


def test_packets_that_are_dropped(tunnel: Tunnel, network: Namespace, far: OpenSSHServer) -> None:
    with EchoService(host=network.here) as echo:
        tunnel.up(far, f"{network.here}:{echo.port}", connect_timeout="2s")
        with tunnel.answering(), tunnel.connection() as client:
            assert exchange(client, b"before") == b"before"
            network.swallow()
            tunnel.is_noticed(NOTICED)
            assert is_reset(client)
            away()
            network.let_through()
            tunnel.is_back(BACK + 2)


def test_a_socket_that_the_kernel_kills(
    tunnel: Tunnel, network: Namespace, far: OpenSSHServer
) -> None:
    with EchoService(host=network.here) as echo:
        tunnel.up(far, f"{network.here}:{echo.port}")
        with tunnel.answering(), tunnel.connection() as client:
            assert exchange(client, b"before") == b"before"
            # ss(8) -K closes at our end; it prints what it closed.
            killed = subprocess.run(
                ["ss", "-KHt", "dst", network.there, "dport", "=", f":{far.port}"],
                capture_output=True,
                text=True,
                check=False,
            )
            if network.there not in killed.stdout:
                pytest.skip(f"this kernel kills no sockets: {killed.stderr or 'nothing killed'}")
            assert is_reset(client)
            tunnel.is_back(BACK)
        assert tunnel.reconnects == 1
