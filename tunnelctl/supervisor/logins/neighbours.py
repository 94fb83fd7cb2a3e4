"""Hosts that wait for the same server: one that gets through has the next ones try.

After an outage each waits for a time of its own, and the unlucky ones for a whole `reconnect.max`
though the server is back. The word spreads from host to host, so that nobody comes in a herd.
Must never wake one that reached the server and was turned away: it is not the way that failed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from tunnelctl.errors import Code
from tunnelctl.spec.host import Host
from tunnelctl.state.machine import Machine
from tunnelctl.state.snapshot import HostState

_NOT_REACHED = frozenset(
    {Code.NAME_NOT_FOUND, Code.CONNECTION_REFUSED, Code.UNREACHABLE, Code.TIMED_OUT}
)
# How many each one wakes, of those that would wait longest.
_WAKES = 2

Wake = Callable[[], None]
# An address means another server behind other hops.
_Place = tuple[tuple[Host, ...], str]


class Neighbours:
    """Of all tunnels of a supervisor, each known by how it is woken."""

    def __init__(self) -> None:
        self._waiting: defaultdict[_Place, dict[Wake, float]] = defaultdict(dict)

    def changed(self, host: Host, machine: Machine, wake: Wake) -> None:
        """The machine of `host` made a step."""
        place = (host.proxy_jump, host.address)
        failure = machine.failure
        if (
            machine.state is HostState.BACKOFF
            and failure is not None
            and failure.code in _NOT_REACHED
        ):
            self._waiting[place][wake] = machine.retry_at or 0.0
        else:
            self.forget(host, wake)

    def forget(self, host: Host, wake: Wake) -> None:
        """It does not wait (there) any more."""
        place = (host.proxy_jump, host.address)
        if place in self._waiting:
            self._waiting[place].pop(wake, None)
            if not self._waiting[place]:
                del self._waiting[place]

    def reached(self, host: Host) -> None:
        """The server of `host` was reached."""
        waiting = self._waiting.get((host.proxy_jump, host.address), {})
        for wake in sorted(waiting, key=waiting.__getitem__, reverse=True)[:_WAKES]:
            wake()
