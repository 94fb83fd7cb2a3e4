"""A daemon with one forward under a fault, asked meanwhile whether it answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.clients import exchange
from tests.support.ports import free_port
from tests.support.services import connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import BUSY, eventually
from tests.support.world import World, tunnel_text
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths

INTERVAL, COUNT = 1.0, 2
RETRY = 1.0  # reconnect.max
# A silent peer is noticed within interval x (count + 1).
NOTICED = INTERVAL * (COUNT + 1) + BUSY
# A host that is back is used within its current wait; a handshake is not what takes long.
BACK = RETRY + BUSY
# A connection that is cut is noticed within a second. By its silence it would be in a minute.
AT_ONCE = 1.0 + BUSY
PATIENT = {"server_alive_interval": "15s", "server_alive_count_max": "3"}
_ANSWERS = 0.2  # seconds, of nineteen answers in twenty
_LATE = 3  # more than those may be late: a machine that halts for a moment makes one so
_LATEST = _ANSWERS + BUSY
_STEP = 0.05


class Tunnel:
    """The profile `dev`, with the forward `db` to an echo service."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.port = free_port()
        self._known = 0  # reconnects that were looked at
        self.client = Client(Paths.from_environ(world.environ, world.home))

    def up(
        self, server: OpenSSHServer, target: str, *, more: str = "", **keys: str | float
    ) -> None:
        """Bring it up. `keys` are the host's; `more` is one more forward, as a flow map."""
        host = server.host_yaml(
            **{
                "server_alive_interval": f"{INTERVAL}s",
                "server_alive_count_max": COUNT,
                "reconnect": f"{{max: {RETRY}s}}",
                "ssh_config": "false",
                **keys,
            }
        )
        forwards = {"db": f'local: {self.port}, to: "{target}"'}
        if more:
            forwards["more"] = more
        self.world.profile("dev", tunnel_text(host, **forwards))
        self.world.ok("up", "dev", "-d")

    @property
    def state(self) -> str:
        """The host's state."""
        return str(self._host["state"])

    @property
    def reconnects(self) -> int:
        """How often its link was made anew."""
        return int(self._host["reconnects"])

    @property
    def _host(self) -> dict[str, Any]:
        host: dict[str, Any] = self.client.status().as_json()["profiles"][0]["hosts"][0]
        return host

    def is_noticed(self, within: float) -> None:
        """The link is seen to be lost in time; there may be another before anybody looks."""

        def is_lost() -> bool:
            host = self._host
            return host["state"] not in ("up", "idle") or host["reconnects"] > self._known

        eventually(is_lost, "the loss is noticed", within)

    def is_back(self, within: float) -> None:
        """The same port serves again in time, and status says so."""
        eventually(lambda: self.state == "up", "the host is back", within)
        self._known = self.reconnects
        self.serves(b"back")

    def serves(self, message: bytes) -> None:
        """A client is served."""
        with self.connection() as client:
            assert exchange(client, message) == message

    def connection(self) -> socket.socket:
        """A client's connection."""
        return connect(self.port)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Fails when the control socket does not answer in time while the block runs."""
        over, took = threading.Event(), list[float]()

        def ask() -> None:
            while not over.wait(_STEP):
                began = time.monotonic()
                self.client.status()
                took.append(time.monotonic() - began)

        asking = threading.Thread(target=ask, name="asking")
        asking.start()
        try:
            yield
            eventually(lambda: len(took) >= 5, "it was asked often enough", 15)
        finally:
            over.set()
            asking.join()
        late = [seconds for seconds in took if seconds > _ANSWERS]
        assert len(late) <= _LATE + len(took) / 20, (
            f"{len(late)} of {len(took)} answers are late: {late}"
        )
        assert max(took) < _LATEST


def is_reset(client: socket.socket) -> bool:
    """Whether a client is told in so many words that its connection is lost."""
    try:
        client.recv(1)
    except ConnectionResetError:
        return True
    return False


@pytest.fixture
def tunnel(world: World) -> Tunnel:
    """The profile; not up yet."""
    return Tunnel(world)
