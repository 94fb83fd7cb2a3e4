"""The receive window of a channel: what the peer may send before we give it more.

Owns the size of the window. It grows while the reader keeps up and the peer is held back by the
window alone, so that a link with a long round trip is not held to 2 MiB for each of them; it
shrinks again when the reader falls behind, so that memory is bounded by what is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunnelctl.wire.messages import ProtocolError

# What OpenSSH advertises for TCP channels (channels.h: CHAN_TCP_WINDOW_DEFAULT and
# CHAN_TCP_PACKET_DEFAULT): 64 packets of 32 KiB.
PACKET_MAX = 32 * 1024
WINDOW = 64 * PACKET_MAX
# Enough for 160 MB/s over a round trip of 100 ms.
WINDOW_LIMIT = 8 * WINDOW
# Below this the first window carries 400 MB/s, and a wider one only fills buffers: OpenSSH's
# server halves its speed when it may run 16 MiB ahead of a reader next door.
_FAR_SECONDS = 0.005
# Given back an eighth of the window at a time: the peer keeps sending meanwhile, and every message
# to it costs as much as receiving several packets.
_STEPS = 8


@dataclass(slots=True)
class RoundTrip:
    """The time to the peer and back, shared by all channels of a connection.

    `clock` gives seconds that never jump; `seconds` is None until it was measured.
    """

    clock: Callable[[], float]
    seconds: float | None = None


class ReceiveWindow:
    """See the module's text."""

    __slots__ = ("_round_bytes", "_round_start", "_round_trip", "_unreturned", "open", "size")

    def __init__(self, round_trip: RoundTrip) -> None:
        self.size = WINDOW
        self.open = WINDOW  # what the peer may still send
        self._unreturned = 0
        self._round_trip = round_trip
        self._round_start = 0.0
        self._round_bytes = 0

    def take(self, count: int) -> None:
        """The peer sent `count` bytes.

        Raises:
            ProtocolError: more than it may. OpenSSH lets a peer overrun by a tenth before it
                disconnects (channels.c), and so do we.
        """
        self.open -= count
        if self.open < -(self.size // 10):
            raise ProtocolError("the peer sent more data than the window of a channel")

    def give_back(self, count: int, *, keeps_up: bool) -> int:
        """`count` bytes were passed on; what to grant the peer now, which may be nothing yet.

        `keeps_up` says that nothing waits for the reader.
        """
        self._unreturned += count
        if self._unreturned * _STEPS < self.size:
            return 0
        grant, self._unreturned = self._unreturned, 0
        if keeps_up:
            grant += self._growth(grant)
        else:
            shrink = min(grant, self.size - WINDOW)
            self.size -= shrink
            grant -= shrink
        self.open += grant
        return grant

    def _growth(self, count: int) -> int:
        """Once a round trip: another window's worth, if this one was used up in it."""
        self._round_bytes += count
        round_trip = self._round_trip.seconds
        if round_trip is None or round_trip < _FAR_SECONDS or self.size >= WINDOW_LIMIT:
            return 0
        now = self._round_trip.clock()
        if now - self._round_start < round_trip:
            return 0
        # A round much longer than the round trip says that something else was slow.
        limited = self._round_bytes * 2 >= self.size and now - self._round_start < 2 * round_trip
        self._round_start, self._round_bytes = now, 0
        if not limited:
            return 0
        growth = min(self.size, WINDOW_LIMIT - self.size)
        self.size += growth
        return growth
