"""What the soak breaks: a daemon with forwards of three kinds, sshd behind a bad network, a target.

Must never judge anything: it only holds the parts together and ends them.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.chaos import ChaosProxy
from tests.support.ports import free_port
from tests.support.services import CHUNK, Service
from tests.support.sshd import OpenSSHServer
from tests.support.world import World, tunnel_text
from tunnelctl.client import Client
from tunnelctl.config.paths import Paths

PROFILE = "soak"
UP_WITHIN = 60.0  # seconds
_SERVER_ALIVE = 5  # seconds at most between its own questions
_REKEY = "RekeyLimit 8M"  # every few seconds, with the traffic that there is


@dataclass(frozen=True, slots=True)
class Settings:
    """How attentive and how eager the tunnel is; in seconds, as in the profile."""

    interval: float  # server_alive_interval
    count: int  # server_alive_count_max
    reconnect_max: float

    @property
    def noticed(self) -> float:
        """How long a silent peer may go unnoticed."""
        return self.interval * (self.count + 1)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where clients connect to; each leads to the same target."""

    local: int
    dynamic: int
    remote: int


class Scene:
    """One daemon and all that is around it, until `over` is set."""

    def __init__(
        self, settings: Settings, home: Path, server: OpenSSHServer, proxy: ChaosProxy, target: int
    ) -> None:
        self.settings = settings
        self.world = World(home)
        del self.world.environ["PYTHONWARNINGS"]  # a user's daemon does not look for warnings
        self.server = server
        self.proxy = proxy
        self.target = target
        self.ports = Ports(free_port(), free_port(), free_port())
        self.over = threading.Event()
        self.client = Client(Paths.from_environ(self.world.environ, self.world.home))

    def write_profile(self, *, more: bool = False, broken: bool = False) -> None:
        """Write the profile: as it is, with one more forward, or with a mistake in it."""
        to = f'to: "127.0.0.1:{self.target}"'
        rules = {
            "local": f"local: {self.ports.local}, {to}",
            "dynamic": f"dynamic: {self.ports.dynamic}",
            "remote": f"remote: {self.ports.remote}, {to}",
        }
        if more:
            rules["more"] = f"local: 0, {to}"
        if broken:
            rules["broken"] = "local: nowhere"
        host = self.server.host_yaml(
            port=self.proxy.port,
            host_key_alias=f'"{self.server.pattern}"',
            ssh_config="false",
            server_alive_interval=f"{self.settings.interval}s",
            server_alive_count_max=self.settings.count,
            reconnect=f"{{max: {self.settings.reconnect_max}s}}",
        )
        self.world.profile(PROFILE, tunnel_text(host, **rules))

    def up(self) -> None:
        """Have a daemon that has the profile up."""
        self.world.ok("up", PROFILE, "-d", "--wait-timeout", f"{UP_WITHIN:.0f}s")


class _Target(Service):
    """Sends back what it gets, and waits as long as a client that is gone takes to be noticed."""

    def __init__(self) -> None:
        super().__init__(_echo)


def _echo(connection: socket.socket) -> None:
    connection.settimeout(None)
    while data := connection.recv(CHUNK):
        connection.sendall(data)


@contextmanager
def scene(settings: Settings) -> Iterator[Scene]:
    """A scene that is up; all of it ends with the block."""
    # Not a deep directory: a unix socket's path may have 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="tctl-"))
    # The server has to notice by itself that we are gone, to give the remote port free.
    alive = min(_SERVER_ALIVE, max(1, round(settings.interval)))
    server = OpenSSHServer(
        home / "sshd",
        config=(_REKEY, f"ClientAliveInterval {alive}", f"ClientAliveCountMax {settings.count}"),
    )
    server.start()
    try:
        with _Target() as target, ChaosProxy(server.port) as proxy:
            made = Scene(settings, home, server, proxy, target.port)
            try:
                made.write_profile()
                made.up()
                yield made
            finally:
                made.over.set()
                made.world.close()
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
