"""The receive window of a channel: how much the peer may send before it gets more.

Owns the size of the window. It grows while the reader keeps up and only the window limits the peer,
so that a link with a long round trip is not limited to 2 MiB for each; it shrinks when the reader
falls behind, so that memory is bounded by what is consumed. All windows of a budget never grow by
more than it has, so that many slow readers cannot fill the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tunnelctl.wire.messages import ProtocolError

# What OpenSSH advertises for TCP channels (channels.h: CHAN_TCP_WINDOW_DEFAULT and
# CHAN_TCP_PACKET_DEFAULT): 64 packets of 32 KiB.
PACKET_MAX: Final = 32 * 1024
WINDOW: Final = 64 * PACKET_MAX
# 640 MB/s over a round trip of 100 ms.
WINDOW_LIMIT: Final = 32 * WINDOW
# OpenSSH's server reads ahead as far as the window allows, into a buffer of at most 16 MiB
# (channels.c, CHAN_INPUT_MAX). It moves the content once half of the buffer was sent (sshbuf.c,
# sshbuf_maybe_pack), or when the end is reached: the fuller the buffer, the more often.
OPENSSH_WINDOW_LIMIT: Final = 4 * WINDOW
# The total by which all windows of a process may grow.
BUDGET: Final = 256 * 1024 * 1024
# Below this, the first window carries 400 MB/s, and a wider one only fills buffers: OpenSSH's
# server halves its speed if it may run 16 MiB ahead of a reader nearby.
_FAR_SECONDS: Final = 0.005
# Credit is sent for an eighth of the window at a time: the peer keeps sending meanwhile, and every
# message costs as much as receiving several packets.
_STEPS: Final = 8


@dataclass(slots=True)
class WindowBudget:
    """The bytes by which windows may still grow."""

    left: int = BUDGET

    def take(self, count: int) -> int:
        """Take `count` from the budget, or what is left of it."""
        granted = min(count, self.left)
        self.left -= granted
        return granted

    def give_back(self, count: int) -> None:
        """Return `count` to the budget."""
        self.left += count


@dataclass(slots=True)
class RoundTrip:
    """The round trip time, and the limit of windows for it; shared by all channels of a connection.

    `clock` returns monotonic seconds; `seconds` is None until it was measured. No window is wider
    than `limit` bytes.
    """

    clock: Callable[[], float]
    seconds: float | None = None
    limit: int = WINDOW_LIMIT
    budget: WindowBudget = field(default_factory=WindowBudget)


class ReceiveWindow:
    """The window of one channel."""

    __slots__ = ("_round_bytes", "_round_start", "_round_trip", "_unreturned", "open", "size")

    def __init__(self, round_trip: RoundTrip) -> None:
        self.size = WINDOW
        self.open = WINDOW  # bytes that the peer may still send
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
        """`count` bytes were passed on; returns the credit for the peer now, possibly 0.

        `keeps_up`: nothing waits for the reader.
        """
        self._unreturned += count
        if self._unreturned * _STEPS < self.size:
            return 0
        grant, self._unreturned = self._unreturned, 0
        if keeps_up:
            grant += self._growth(grant)
        else:
            shrink = min(grant, self.size - WINDOW)
            self._shrink(shrink)
            grant -= shrink
        self.open += grant
        return grant

    def _growth(self, count: int) -> int:
        """Once in a round trip: widen the window if it was used up."""
        self._round_bytes += count
        round_trip, limit = self._round_trip.seconds, self._round_trip.limit
        if round_trip is None or round_trip < _FAR_SECONDS or self.size >= limit:
            return 0
        now = self._round_trip.clock()
        if now - self._round_start < round_trip:
            return 0
        # A measurement much longer than the round trip time means that something else was slow.
        limited = self._round_bytes * 2 >= self.size and now - self._round_start < 2 * round_trip
        self._round_start, self._round_bytes = now, 0
        if not limited:
            return 0
        growth = self._round_trip.budget.take(min(self.size, limit - self.size))
        self.size += growth
        return growth

    def _shrink(self, count: int) -> None:
        self.size -= count
        self._round_trip.budget.give_back(count)

    def close(self) -> None:
        """The peer sends no more, so others may grow. Idempotent."""
        self._shrink(self.size - WINDOW)
        self.open = min(self.open, WINDOW)
