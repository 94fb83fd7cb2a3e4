"""Hosts that wait for the same server: one that connects makes the next ones try.

After an outage each host waits for a delay of its own, some of them for a whole `reconnect.max`
although the server is back. Each success wakes a few others, so they do not come all at once. Must
never wake a host that reached the server and was refused: its problem is another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from tunnelctl.errors import Code
from tunnelctl.spec.host import Host
from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.host.machine import Machine

_NOT_REACHED = frozenset(
    {Code.NAME_NOT_FOUND, Code.CONNECTION_REFUSED, Code.UNREACHABLE, Code.TIMED_OUT}
)
# The number of hosts that each success wakes, those with the longest delay first.
_WAKES = 2

Wake = Callable[[], None]
# Behind other hops, an address is another server.
_Place = tuple[tuple[Host, ...], str]


class Neighbours:
    """For all tunnels of a supervisor; each is identified by its wake-up function."""

    def __init__(self) -> None:
        self._waiting: defaultdict[_Place, dict[Wake, float]] = defaultdict(dict)

    def changed(self, host: Host, machine: Machine, wake: Wake) -> None:
        """The machine of `host` has a new state."""
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
        """It does not wait for this server any more."""
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
