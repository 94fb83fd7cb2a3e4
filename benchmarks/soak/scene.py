"""The parts of the soak: a daemon with three kinds of forwards, sshd behind a bad network, a
target.

Must never judge anything: it only starts the parts and ends them.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.soak.network import own_network
from tests.support.agent import RunningAgent
from tests.support.chaos import ChaosProxy
from tests.support.ports import free_port
from tests.support.services import CHUNK, Service
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, tunnel_text
from tunnelctl.client import Client
from tunnelctl.errors import Failure
from tunnelctl.home.paths import Paths

PROFILE = "soak"
HELD = "held"  # held only by attached commands
UP_WITHIN = 60.0  # seconds
_SERVER_ALIVE = 5  # seconds at most between its own probes
_REKEY = "RekeyLimit 8M"  # every few seconds, under traffic


@dataclass(frozen=True, slots=True)
class Settings:
    """The keepalive and reconnect settings of the tunnel; in seconds, as in the profile."""

    interval: float  # server_alive_interval
    count: int  # server_alive_count_max
    reconnect_max: float

    @property
    def noticed(self) -> float:
        """How long a silent peer may stay undetected."""
        return self.interval * (self.count + 1)


@dataclass(frozen=True, slots=True)
class Ports:
    """The addresses for clients; each leads to the same target."""

    local: int
    dynamic: int
    remote: int
    held: int  # of the other profile


class Scene:
    """One daemon and its environment, until `over` is set."""

    def __init__(
        self,
        settings: Settings,
        home: Path,
        server: OpenSSHServer,
        proxy: ChaosProxy,
        target: int,
        *,
        own_network: bool,
    ) -> None:
        self.settings = settings
        self.world = World(home)
        del self.world.environ["PYTHONWARNINGS"]  # a user's daemon does not look for warnings
        self.server = server
        self.proxy = proxy
        self.target = target
        self.own_network = own_network
        self.ports = Ports(free_port(), free_port(), free_port(), free_port())
        self.socket = home / "sockets" / "unix"
        self.socket.parent.mkdir(mode=0o700)
        self.config = home / "ssh_config"
        self.config.write_text("Host elsewhere\n  Port 2222\n")
        # Only the agent has the key.
        self.key = server.identity.rename(home / "key")
        self.agent = RunningAgent(home / "agent")
        self.agent.add(self.key)
        self._closed = False
        self._daemon: subprocess.Popen[bytes] | None = None
        self.over = threading.Event()
        self.paths = Paths.from_environ(self.world.environ, self.world.home)
        self.client = Client(self.paths)

    def write_profile(self, *, more: bool = False, broken: bool = False) -> None:
        """Write the profile: as it is, with one more forward, or with a mistake in it."""
        to = f'to: "127.0.0.1:{self.target}"'
        rules = {
            "local": f"local: {self.ports.local}, {to}",
            "dynamic": f"dynamic: {self.ports.dynamic}",
            "remote": f"remote: {self.ports.remote}, {to}",
            "unix": f"local: {self.socket}, {to}",
        }
        if more:
            rules["more"] = f"local: 0, {to}"
        if broken:
            rules["broken"] = "local: nowhere"
        self.world.profile(PROFILE, tunnel_text(self._host(), **rules))

    def write_held(self) -> None:
        """Write the profile that is up while a command holds it."""
        rule = f'local: {self.ports.held}, to: "127.0.0.1:{self.target}"'
        self.world.profile(HELD, tunnel_text(self._host(), local=rule))

    def _host(self) -> str:
        return self.server.host_yaml(
            port=self.proxy.port,
            identity_file=f"{self.server.identity}.pub",
            identity_agent=str(self.agent.path),
            host_key_alias=f'"{self.server.pattern}"',
            ssh_config=str(self.config),
            server_alive_interval=f"{self.settings.interval}s",
            server_alive_count_max=self.settings.count,
            reconnect=f"{{max: {self.settings.reconnect_max}s}}",
        )

    def up(self) -> None:
        """Start a daemon that watches its files, and let it hold the profile up."""
        self._reap()
        self._daemon = subprocess.Popen(
            [sys.executable, "-m", "tunnelctl", "daemon", "--watch"],
            cwd=self.world.home,
            env=self.world.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(self.answers, "the daemon answers", UP_WITHIN)
        self.world.ok("up", PROFILE, "-d", "--wait-timeout", f"{UP_WITHIN:.0f}s")

    def answers(self) -> bool:
        """Whether a daemon is found."""
        try:
            return bool(self.client.status())
        except Failure:
            return False

    def pid(self) -> int:
        """The daemon's process id, as it reports it."""
        return self.client.status().daemon.pid

    def status(self, profile: str) -> dict[str, Any]:
        """A profile in the current status; empty if the daemon does not know it."""
        found = (p for p in self.client.status().as_json()["profiles"] if p["name"] == profile)
        return next(found, {})

    def forward(self, name: str) -> dict[str, Any]:
        """A forward of the profile; empty if there is none with this name."""
        forwards = self.status(PROFILE).get("forwards", [])
        return next((f for f in forwards if f["name"] == name), {})

    def close(self) -> None:
        """End the daemon and the agent; only the first call has an effect.

        Raises:
            AssertionError: see `World.close`.
        """
        if self._closed:
            return
        self._closed = True
        self.over.set()
        try:
            self.world.close()
            self._reap()
        finally:
            self.agent.stop()

    def _reap(self) -> None:
        """Collect the exit status of the ended daemon."""
        if self._daemon is not None:
            self._daemon.wait(UP_WITHIN)


class _Target(Service):
    """Returns what it receives, and waits as long as it takes to detect a lost client."""

    def __init__(self) -> None:
        super().__init__(_echo)


def _echo(connection: socket.socket) -> None:
    connection.settimeout(None)
    while data := connection.recv(CHUNK):
        connection.sendall(data)


@contextmanager
def scene(settings: Settings) -> Iterator[Scene]:
    """A running scene; all of it ends with the block."""
    # Not a deep directory: a unix socket's path may have 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="tctl-"))
    try:
        with (
            own_network() as own,
            _server(settings, home) as server,
            _Target() as target,
            ChaosProxy(server.port) as proxy,
        ):
            made = Scene(settings, home, server, proxy, target.port, own_network=own)
            try:
                made.write_profile()
                made.write_held()
                made.up()
                yield made
            finally:
                made.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _server(settings: Settings, home: Path) -> Iterator[OpenSSHServer]:
    # The server must detect by itself that we are gone, so that it releases the remote port.
    alive = min(_SERVER_ALIVE, max(1, round(settings.interval)))
    server = OpenSSHServer(
        home / "sshd",
        config=(_REKEY, f"ClientAliveInterval {alive}", f"ClientAliveCountMax {settings.count}"),
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()
