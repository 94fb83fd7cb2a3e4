"""The measured figures and the project's aims. The only place that names either.

Must never hold a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.effort import Effort
from benchmarks.scene import ROUND_TRIP

SSH, SSH_GCM, AUTOSSH = "ssh", "ssh gcm", "autossh"
SSHTUNNEL, ASYNCSSH, TUNNELCTL, DIRECT = "sshtunnel", "asyncssh", "tunnelctl", "direct"
COMPILED = "tunnelctl compiled"

_SSH_WINDOW = 2 * 1024 * 1024  # bytes of a channel (channels.h, CHAN_TCP_WINDOW_DEFAULT)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number for each peer, printed with `digits` decimals."""

    key: str
    title: str
    unit: str
    digits: int = 0


def figures(effort: Effort) -> dict[str, Figure]:
    """All figures by key, in the order of the report, with the amounts of a run."""
    connects, streams = f"new connections, {effort.connects_at_once} at a time", effort.streams
    far = f"{ROUND_TRIP * 1e3:.0f} ms round trip"
    idle = (
        f"daemon with {effort.idle_hosts} idle hosts and {effort.idle_connections} idle connections"
    )
    ordered = (
        Figure("up", "one stream up", "MB/s"),
        Figure("up_cpu", "one stream up, client CPU", "s/GB", 2),
        Figure("down", "one stream down", "MB/s"),
        Figure("down_cpu", "one stream down, client CPU", "s/GB", 2),
        Figure("echo_p50", "echo, median", "µs"),
        Figure("echo_p99", "echo, p99", "µs"),
        Figure("sequence", "new connections in sequence", "1/s"),
        Figure("sequence_cpu", "new connections in sequence, client CPU each", "µs"),
        Figure("parallel", connects, "1/s"),
        Figure("parallel_cpu", f"{connects}, client CPU each", "µs"),
        Figure("streams_up", f"{streams} streams up, total", "MB/s"),
        Figure("streams_up_share", f"{streams} streams up, slowest over mean", "", 2),
        Figure("streams_down", f"{streams} streams down, total", "MB/s"),
        Figure("streams_down_share", f"{streams} streams down, slowest over mean", "", 2),
        Figure("beside_up", "echo beside a stream up, p99", "ms", 2),
        Figure("beside_down", "echo beside a stream down, p99", "ms", 2),
        Figure("far_up", f"one stream up, {far}", "MB/s", 1),
        Figure("far_down", f"one stream down, {far}", "MB/s", 1),
        Figure("host_memory", "memory of one more idle host", "kB"),
        Figure("connection_memory", "memory of one more idle connection", "kB", 1),
        Figure("idle_memory", f"{idle}, RSS", "MB", 1),
        Figure("idle_cpu", f"{idle}, CPU", "%", 2),
    )
    return {figure.key: figure for figure in ordered}


class Sense(StrEnum):
    """Whether an aim is a lower or an upper bound."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Aim:
    """The aim for tunnelctl's `figure`: `bound` times that of `peer`, or `bound` itself.

    The ratio is to another figure if `other` names one.
    """

    figure: str
    sense: Sense
    bound: float
    peer: str | None = None
    other: str | None = None

    def is_reached(self, value: float) -> bool:
        """Whether a measured ratio or figure meets the aim."""
        if self.sense is Sense.AT_LEAST:
            return value >= self.bound
        return value <= self.bound


def _throughput(figure: str, gcm: float) -> list[Aim]:
    return [
        Aim(figure, Sense.AT_LEAST, gcm, SSH_GCM),
        Aim(figure, Sense.AT_LEAST, 3.0, SSHTUNNEL),
        Aim(figure, Sense.AT_LEAST, 3.0, ASYNCSSH),
    ]


AIMS = (
    *_throughput("up", 1.25),
    *_throughput("down", 1.0),
    Aim("up_cpu", Sense.AT_MOST, 0.75, SSH_GCM),
    Aim("down_cpu", Sense.AT_MOST, 0.95, SSH_GCM),
    Aim("echo_p50", Sense.AT_MOST, 1.05, SSH),
    Aim("echo_p99", Sense.AT_MOST, 1.1, SSH),
    Aim("sequence", Sense.AT_LEAST, 1.0, SSH),
    Aim("sequence_cpu", Sense.AT_MOST, 1.2, SSH),
    Aim("parallel", Sense.AT_LEAST, 1.3, SSH),
    Aim("parallel_cpu", Sense.AT_MOST, 0.85, SSH),
    # Compared to one stream, and to the peer.
    Aim("streams_up", Sense.AT_LEAST, 1.0, TUNNELCTL, "up"),
    Aim("streams_up", Sense.AT_LEAST, 1.5, SSH_GCM),
    Aim("streams_up_share", Sense.AT_LEAST, 0.5),
    Aim("streams_down", Sense.AT_LEAST, 1.0, TUNNELCTL, "down"),
    Aim("streams_down", Sense.AT_LEAST, 1.1, SSH_GCM),
    Aim("streams_down_share", Sense.AT_LEAST, 0.5),
    Aim("beside_up", Sense.AT_MOST, 10.0),
    Aim("beside_down", Sense.AT_MOST, 10.0),
    # The limit of a receiver that never grants more than OpenSSH's window.
    Aim("far_down", Sense.AT_LEAST, _SSH_WINDOW / ROUND_TRIP / 1e6),
    Aim("host_memory", Sense.AT_MOST, 100.0),
    Aim("connection_memory", Sense.AT_MOST, 20.0),
    Aim("idle_memory", Sense.AT_MOST, 150.0),
    Aim("idle_cpu", Sense.AT_MOST, 2.0),
)
