"""The faults, each from beginning to end, with the times of both.

A fault restores everything except the link. Must never judge: `run` waits for the recovery and
measures it.
"""

from __future__ import annotations

import os
import signal
import time

from benchmarks.soak import files
from benchmarks.soak.network import lower_metric, raise_metric
from benchmarks.soak.scene import PROFILE
from benchmarks.soak.stage import Fault, Moments, Stage, at_once, away, during
from benchmarks.soak.terminals import come_and_go
from tests.support.chaos import BOTH, Direction
from tests.support.waiting import eventually

_CROWD = 100
_ASKED_WITHIN = 5.0  # seconds until a link is probed after a change of the network
# Seconds: a change of the network that is undone within one is ignored (net/network.py).
_A_CHANGE = 3.0
_NOTICED_WITHIN = 20.0  # seconds until a dead link is detected then, on a busy machine
_MET_WITHIN = 60.0  # seconds for the traffic to reach a certain byte
# The version lines and the algorithm offers are unprotected, this many bytes in each direction: a
# server that changed its version, or offers no common algorithm, is correctly given up.
_BARE = 1_500
_STREAM = 1_000_000  # bytes in each direction of a link's life that may be changed


# --- the network --------------------------------------------------------------------------------


def _silence(stage: Stage) -> Moments:
    ways = stage.chance.choice([BOTH, (Direction.UP,), (Direction.DOWN,)])
    proxy = stage.scene.proxy
    return during(stage, lambda: proxy.stall(*ways), lambda: proxy.flow(*ways))


def _slow(stage: Stage) -> Moments:
    proxy = stage.scene.proxy
    return during(stage, lambda: proxy.delay(0.25, jitter=0.1), lambda: proxy.delay(0))


def _narrow(stage: Stage) -> Moments:
    proxy = stage.scene.proxy
    return during(stage, lambda: proxy.limit(500_000), lambda: proxy.limit(None))


def _slices(stage: Stage) -> Moments:
    proxy, size = stage.scene.proxy, stage.chance.randint(64, 1500)
    return during(stage, lambda: proxy.cut_up(size), lambda: proxy.cut_up(None))


def _flipped_byte(stage: Stage) -> Moments:
    """At any point of the next link, from the first protected byte on."""
    proxy, direction = stage.scene.proxy, stage.chance.choice(BOTH)
    offset = round(_BARE * (_STREAM / _BARE) ** stage.chance.random())

    def flip() -> None:
        proxy.flip(offset, direction)
        proxy.reset()  # offsets are counted in each connection
        eventually(lambda: not proxy.waits(direction), "the byte comes", _MET_WITHIN)

    return at_once(flip)


def _cut_in_the_middle(stage: Stage) -> Moments:
    proxy, direction = stage.scene.proxy, stage.chance.choice(BOTH)

    def cut() -> None:
        proxy.cut_after(stage.chance.randint(1, 100_000), direction)
        eventually(lambda: not proxy.waits(direction), "the byte comes", _MET_WITHIN)

    return at_once(cut)


def _half_close(stage: Stage) -> Moments:
    return at_once(lambda: stage.scene.proxy.half_close(stage.chance.choice(BOTH)))


# --- the server ---------------------------------------------------------------------------------


def _server_killed(stage: Stage) -> Moments:
    return away(stage, stage.scene.server.kill, stage.scene.server.start)


def _server_stopped(stage: Stage) -> Moments:
    return during(stage, stage.scene.server.pause, stage.scene.server.resume)


def _key_refused(stage: Stage) -> Moments:
    """The server temporarily does not know our key, as if its /home were not mounted."""
    keys = stage.scene.server.authorized_keys
    hidden = keys.with_name("hidden")

    def refuse() -> None:
        keys.rename(hidden)
        stage.scene.server.kill_sessions()

    return during(stage, refuse, lambda: hidden.rename(keys))


# --- the way there ------------------------------------------------------------------------------


def _agent_locked(stage: Stage) -> Moments:
    def lock() -> None:
        stage.scene.agent.lock()
        stage.scene.server.kill_sessions()

    return during(stage, lock, stage.scene.agent.unlock)


def _agent_away(stage: Stage) -> Moments:
    agent = stage.scene.agent

    def leave() -> None:
        agent.stop()
        stage.scene.server.kill_sessions()

    def come_back() -> None:
        agent.start()
        agent.add(stage.scene.key)

    return during(stage, leave, come_back)


def _metric_raised(stage: Stage) -> Moments:
    """A link that is alive is probed, and stays up."""
    watch = stage.watch
    watch.look()
    before = watch.reconnects
    moments = during(stage, raise_metric, lower_metric)
    stage.scene.over.wait(_ASKED_WITHIN)
    watch.look()
    if watch.reconnects != before:
        stage.ledger.violate("a link that was alive was given up as a metric was raised")
    return moments


def _metric_raised_and_forgotten(stage: Stage) -> Moments:
    """A link that the network dropped is detected at once, before the limit for a silent server."""
    stage.scene.proxy.strand()
    raise_metric()
    begun = time.monotonic()
    try:
        stage.scene.over.wait(_A_CHANGE + stage.duration())
    finally:
        lower_metric()
    moments = Moments(begun, time.monotonic())
    try:
        eventually(
            lambda: stage.traffic.passed("local", moments.begun, moments.begun),
            "a link that a moved route left dead is noticed at once",
            _NOTICED_WITHIN,
        )
    except AssertionError as error:
        stage.ledger.violate(str(error))
    return moments


# --- ourselves ----------------------------------------------------------------------------------


def _restart(stage: Stage) -> Moments:
    return at_once(lambda: stage.scene.world.ok("restart", PROFILE))


def _daemon_killed(stage: Stage) -> Moments:
    with stage.watch.excused():
        stage.scene.world.kill_daemon()
        begun = time.monotonic()
        stage.scene.up()
    return Moments(begun, time.monotonic())


def _daemon_stopped(stage: Stage) -> Moments:
    pid = stage.watch.pid
    with stage.watch.excused():
        return during(
            stage, lambda: os.kill(pid, signal.SIGSTOP), lambda: os.kill(pid, signal.SIGCONT)
        )


def _storm(stage: Stage) -> Moments:
    return at_once(lambda: stage.traffic.storm(_CROWD, stage.chance))


FAULTS = (
    Fault("network: reset", lambda stage: at_once(stage.scene.proxy.reset)),
    Fault("network: down", lambda s: away(s, s.scene.proxy.down, s.scene.proxy.up)),
    Fault("network: silence", _silence),
    Fault("network: forgets the link", lambda stage: at_once(stage.scene.proxy.strand)),
    Fault("network: 250 ms ± 100 more each way", _slow),
    Fault("network: 500 kB/s", _narrow),
    Fault("network: slices", _slices),
    Fault("network: one bit changed", _flipped_byte),
    Fault("network: cut in the middle", _cut_in_the_middle),
    Fault("network: closed one way", _half_close),
    Fault("sshd: session killed", lambda s: at_once(s.scene.server.kill_sessions)),
    Fault("sshd: killed", _server_killed),
    Fault("sshd: stopped", _server_stopped),
    Fault("sshd: refuses the key, session killed", _key_refused),
    Fault("agent: locked, session killed", _agent_locked),
    Fault("agent: away, session killed", _agent_away),
    Fault("route: metric raised", _metric_raised, own_network=True),
    Fault(
        "route: the same, and the link forgotten", _metric_raised_and_forgotten, own_network=True
    ),
    Fault("terminals: two come and go", come_and_go),
    Fault("tunnelctl restart", _restart),
    Fault("tunnelctl reload, twice, and a broken file", files.reload),
    Fault("files: profile rewritten, --watch", files.watched),
    Fault("files: known_hosts, ssh_config; reset", files.login_files),
    Fault("files: runtime folder removed", files.runtime_removed),
    Fault("files: unix socket removed", files.socket_removed),
    Fault("daemon: killed", _daemon_killed),
    Fault("daemon: stopped", _daemon_stopped),
    Fault("100 clients at once", _storm),
)
