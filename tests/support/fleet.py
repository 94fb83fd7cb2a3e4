"""A fleet on one machine: real etcd members, real sshds, and a daemon in a world of its own for
each machine, which reaches every member and every sshd through a proxy of its own.

Each machine's target answers a client with the machine's name. What a client of the fleet sees is
the remote port, on the sshd.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.chaos import ChaosProxy
from tests.support.etcd import Cluster, cluster
from tests.support.namespaces import Namespace
from tests.support.ports import free_port
from tests.support.processes import is_running
from tests.support.services import Service, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.wall_clock import WallClock
from tests.support.world import World
from tunnelctl.errors import Failure

# Seconds; 5 is the shortest. A longer one bears a machine that is busy with other tests.
LEASE = float(os.environ.get("TUNNELCTL_FLEET_LEASE", "5"))
waits = pytest.mark.skipif(
    "TUNNELCTL_FLEET_SECONDS" not in os.environ, reason="waits for leases; .ci/run runs it"
)
_FIRST_LINE = 64


class Machine:
    """One machine: its world, its ways to etcd and to sshd, its target, and its daemon, which runs
    at the far end of a `network` if there is one."""

    def __init__(
        self, name: str, directory: Path, stack: ExitStack, network: Namespace | None
    ) -> None:
        self.name = name
        self.others_at = "127.0.0.1" if network is None else network.here
        directory.mkdir(mode=0o700)
        self.world = World(directory)
        self.world.inside = () if network is None else network.inside
        self.target = stack.enter_context(Service(self._serve, host=self.others_at))
        self.local = free_port()
        self.to_store: list[ChaosProxy] = []
        self.to_servers: list[ChaosProxy] = []
        self.process: subprocess.Popen[str] | None = None
        self.tells_token = False
        self.log: Path | None = None  # of its daemons, one after another
        self.clock: WallClock | None = None
        self.world.environ["OTHERS"] = self.others_at
        self.world.environ["TARGET"] = str(self.target.port)
        self.world.environ["LOCAL"] = str(self.local)

    def _serve(self, connection: socket.socket) -> None:
        """Says who it is, and with `tells_token` the token that its daemon has now; then repeats
        what it hears."""
        greeting = self.name
        if self.tells_token:
            fleet = self.fleet()
            greeting += f" {fleet['token'] if fleet.get('role') == 'holder' else 0}"
        connection.sendall(f"{greeting}\n".encode())
        # A connection is silent for as long as a daemon is stopped.
        connection.settimeout(None)
        while data := connection.recv(4096):
            connection.sendall(data)

    @property
    def to_server(self) -> ChaosProxy:
        """The way to the first sshd."""
        return self.to_servers[0]

    def with_clock(self) -> None:
        """Start its daemon with a time of day that can be set."""
        self.clock = WallClock(self.world.home)
        self.world.environ.update(self.clock.environ)

    def start(self, *more: str, profiles: Sequence[str] = ("web",)) -> None:
        """Start its daemon, and wait until that answers."""
        file = self.world.home / "fleet.yml"
        words = ("daemon", "--fleet", str(file), *more, *profiles)
        with contextlib.ExitStack() as files:
            log = None if self.log is None else files.enter_context(self.log.open("a"))
            self.process = self.world.start(
                *words,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE if log is None else log.fileno(),
            )
        eventually(self._answers, f"the daemon of {self.name} answers")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.process.communicate()
        with contextlib.suppress(Failure):
            self.world.status()
            return True
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon."""
        assert self.process is not None
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill its daemon, and take its last words away."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.communicate()
            self.process = None

    @property
    def runs(self) -> bool:
        """Whether its daemon runs."""
        return self.process is not None and is_running(self.process.pid)

    def profile(self, name: str = "web") -> dict[str, Any]:
        """A profile in its daemon's status. Raises OSError if the daemon does not answer."""
        try:
            found: list[dict[str, Any]] = self.world.status()["profiles"]
        except Failure as failure:
            raise ConnectionError(str(failure)) from failure
        return next(one for one in found if one["name"] == name)

    def fleet(self, name: str = "web") -> dict[str, Any]:
        """The fleet's part of a profile in its daemon's status."""
        found: dict[str, Any] = self.profile(name).get("fleet", {})
        return found

    def is_up(self, name: str = "web") -> bool:
        """Whether it holds a profile that is up."""
        return bool(self.profile(name)["state"] == "up")


class FleetScene:
    """The cluster, the sshds and the machines. `remotes` are the ports of the profile's remote
    forwards, one on each sshd; `remote` is the first one."""

    def __init__(
        self,
        directory: Path,
        stack: ExitStack,
        machines: int,
        name: str,
        servers: int,
        *,
        evicts: bool,
        network: Namespace | None,
    ) -> None:
        self.name = name
        self._evicts = evicts
        self.remotes = [free_port() for _ in range(servers)]
        self.remote = self.remotes[0]
        self.directory = directory
        self.store: Cluster = stack.enter_context(cluster(directory / "etcd"))
        self.servers = [
            OpenSSHServer(
                directory / f"sshd{at}",
                config=(
                    "ClientAliveInterval 1",
                    "ClientAliveCountMax 2",
                    f"SetEnv XDG_STATE_HOME={directory / f'state{at}'}",  # for `evict`
                ),
            )
            for at in range(servers)
        ]
        for server in self.servers:
            server.start()
            stack.callback(server.stop)
        self.machines = []
        for number in range(1, machines + 1):
            there = network if number == 1 else None
            machine = Machine(f"m{number}", directory / f"w{number}", stack, there)
            machine.to_servers, machine.to_store = (
                [stack.enter_context(ChaosProxy(port, host=machine.others_at)) for port in ports]
                for ports in (
                    [server.port for server in self.servers],
                    [member.port for member in self.store.members],
                )
            )
            stack.callback(machine.end)  # before its proxies, to which it connects
            self.machines.append(machine)
            self.configure(machine)

    def configure(self, machine: Machine, lease: float = LEASE, **more: str) -> None:
        """Write a machine's files. Its sshd is reached through its proxy, under one name."""
        hosts, forwards = [], []
        for at, (server, proxy) in enumerate(zip(self.servers, machine.to_servers, strict=True)):
            machine.world.environ[f"SERVER{at}"] = str(proxy.port)
            host = server.host_yaml(
                hostname="'${OTHERS}'",
                port=f"'${{SERVER{at}}}'",
                host_key_alias=f"'{server.pattern}'",
                server_alive_interval="1s",
            )
            hosts.append(f"  server{at or ''}: {host}")
            forwards.append(
                f'  shared{at or ""}: {{remote: {self.remotes[at]}, to: "${{OTHERS}}:${{TARGET}}", '
                f"probe: {{type: none}}, via: server{at or ''}}}"
            )
        own = '  own: {local: "${LOCAL}", to: "${OTHERS}:${TARGET}", probe: {type: none}, '
        lines = ["version: 1", "hosts:", *hosts, "forwards:", *forwards, own + "via: server}", ""]
        machine.world.profile("web", "\n".join(lines))
        urls = ", ".join(f"http://{proxy.host}:{proxy.port}" for proxy in machine.to_store)
        etcd = ", ".join([f"endpoints: [{urls}]", *(f"{key}: {more[key]}" for key in more)])
        (machine.world.home / "fleet.yml").write_text(
            f"version: 1\nfleet: {self.name}\nmachine: {machine.name}\nlease: {lease:g}s\n"
            f"etcd: {{{etcd}}}\nevict: {str(self._evicts).lower()}\n"
        )

    def start(self) -> None:
        """Start every machine that does not run, and wait for peace."""
        for machine in self.machines:
            if not machine.runs:
                machine.start()
        self.settle()

    def settle(self) -> None:
        """Until one machine is up and all others stand by."""
        eventually(lambda: self.is_settled, "one holder, and all others stand by", 6 * LEASE)

    @property
    def is_settled(self) -> bool:
        """Whether one machine is up and all others stand by."""
        states = []
        for machine in self.machines:
            with contextlib.suppress(OSError):
                states.append(machine.profile()["state"])
        return sorted(states) == ["standby"] * (len(self.machines) - 1) + ["up"]

    @property
    def holder(self) -> Machine:
        """The machine that is up."""
        return next(machine for machine in self.machines if machine.is_up())

    def others(self, holder: Machine) -> list[Machine]:
        """All machines but one."""
        return [machine for machine in self.machines if machine is not holder]

    def taker(self, holder: Machine, seconds: float) -> Machine:
        """Whichever other machine is up within so many seconds."""
        others = self.others(holder)
        eventually(lambda: any(one.is_up() for one in others), "another takes it", seconds)
        return next(one for one in others if one.is_up())

    def asked(self) -> str | None:
        """The name of the machine that answers a client of the remote port; None without one."""
        try:
            with connect(self.remote, 2.0) as client:
                return client.recv(_FIRST_LINE).decode().strip() or None
        except OSError:
            return None


@contextmanager
def fleet_scene(
    machines: int = 2,
    name: str = "test",
    *,
    servers: int = 1,
    evicts: bool = False,
    network: Namespace | None = None,
) -> Iterator[FleetScene]:
    """A scene whose machines are not started yet. The first one is alone at the far end of a
    `network`."""
    directory = Path(tempfile.mkdtemp(prefix="tctl-f"))
    try:
        with ExitStack() as stack:
            yield FleetScene(
                directory, stack, machines, name, servers, evicts=evicts, network=network
            )
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def seconds_until(what: str, condition: Any, limit: float) -> float:
    """How long a condition takes to become true."""
    began = time.monotonic()
    eventually(condition, what, limit)
    return time.monotonic() - began


def loop_was_free(machines: Sequence[Machine]) -> None:
    """The loop of no daemon was held up (tests/support/loopwatch)."""
    for machine in machines:
        report = machine.world.loop_report
        assert not report.exists(), report.read_text()


def processes_of(machine: Machine) -> list[int]:
    """The processes of a machine that still run."""
    return [pid for pid in machine.world.processes() if pid != os.getpid()]
