"""The faults of a fleet: each is injected, lasts, and is mended.

Owns what each does to the scene, and which of the promises it puts to the test.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from tests.support.fleet import LEASE, FleetScene, Machine
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths

STOPPED = 60.0  # seconds of a process that is stopped
_DAY = 86_400
Fault = Callable[[FleetScene, Machine, Random], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True)
class Kind:
    """A fault by name. `lasts` are the shortest and longest seconds until it is mended. `takes`:
    another machine takes the profile. `is_planned`: an operator asked for it. `keeps`: connections
    of clients live on, `keeps_meanwhile`: until it is mended. `ends`: they end within a lease."""

    name: str
    inject: Fault
    lasts: tuple[float, float]
    takes: bool = False
    is_planned: bool = False
    keeps: bool = False
    keeps_meanwhile: bool = False
    ends: bool = False


@contextmanager
def _killed(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    holder.end()
    yield
    holder.start()


@contextmanager
def _stopped(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    holder.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        holder.signal(signal.SIGCONT)


@contextmanager
def _without_etcd(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    for proxy in holder.to_store:
        random.choice((proxy.stall, proxy.down))()
    try:
        yield
    finally:
        for proxy in holder.to_store:
            proxy.flow()
            proxy.up()


@contextmanager
def _without_server(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    proxy = random.choice(holder.to_servers)
    proxy.stall()
    try:
        yield
    finally:
        proxy.flow()


@contextmanager
def _server_killed(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    server = random.choice(scene.servers)
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def _alone_in_the_dark(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    for proxy in (*holder.to_store, *holder.to_servers):
        proxy.stall()
    try:
        yield
    finally:
        for proxy in (*holder.to_store, *holder.to_servers):
            proxy.flow()


@contextmanager
def _member_killed(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    member = random.choice(scene.store.members)
    member.kill()
    try:
        yield
    finally:
        scene.store.start(member)
        scene.store.wait()


@contextmanager
def _quorum_lost(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    members = random.sample(scene.store.members, 2)
    for member in members:
        member.kill()
    try:
        yield
    finally:
        scene.store.start(*members)
        scene.store.wait()


@contextmanager
def _leader_stopped(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    leader = scene.store.leader
    leader.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        leader.signal(signal.SIGCONT)


@contextmanager
def _slow_etcd(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    for proxy in holder.to_store:
        proxy.delay(0.05, 0.03)
    try:
        yield
    finally:
        for proxy in holder.to_store:
            proxy.delay(0.0)


@contextmanager
def _clock_set(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    """Of the machines that have a clock of their own (`with_clock`)."""
    for machine in scene.machines:
        if machine.clock is not None:
            machine.clock.jump(random.choice((-_DAY, _DAY)))
    try:
        yield
    finally:
        for machine in scene.machines:
            if machine.clock is not None:
                machine.clock.jump(0)


@contextmanager
def _handed_over(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    world = holder.world
    Client(Paths.from_environ(world.environ, world.home)).hand_over("web")
    yield


@contextmanager
def _terminated(scene: FleetScene, holder: Machine, random: Random) -> Iterator[None]:
    assert holder.process is not None
    holder.signal(signal.SIGTERM)
    holder.process.communicate(timeout=20)
    holder.process = None
    yield
    holder.start()


KINDS = (
    Kind("kill -9 of the holder", _killed, (LEASE + 2, LEASE + 3), takes=True),
    Kind("SIGSTOP of the holder", _stopped, (STOPPED, STOPPED), takes=True),
    Kind("holder without etcd", _without_etcd, (LEASE + 2, 2 * LEASE), takes=True),
    Kind("holder without one sshd", _without_server, (2.0, LEASE)),
    Kind("holder without all", _alone_in_the_dark, (LEASE + 2, 2 * LEASE), takes=True),
    Kind("one sshd killed", _server_killed, (1.0, LEASE)),
    Kind("one member of etcd killed", _member_killed, (LEASE, 2 * LEASE), keeps=True),
    # Only meanwhile: a leader that goes on may revoke a lease that its successor renewed (etcd
    # issue 15247, in 3.4.23); then the holder gives way, and takes the profile again.
    Kind("leader of etcd stopped", _leader_stopped, (LEASE, 2 * LEASE), keeps_meanwhile=True),
    Kind("etcd slow", _slow_etcd, (LEASE, 2 * LEASE), keeps=True),
    Kind("no quorum", _quorum_lost, (LEASE + 1, 2 * LEASE), ends=True),
    Kind("clock set by a day", _clock_set, (LEASE, 2 * LEASE), keeps=True),
    Kind("hand-over", _handed_over, (1.0, 2.0), takes=True, is_planned=True),
    Kind("SIGTERM of the holder", _terminated, (1.0, 2.0), takes=True, is_planned=True),
)
