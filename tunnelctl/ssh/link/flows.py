"""The two directions of a relay, each in a named state. `relay.py` has the socket and the channel.

From the socket to the channel (`FromSocket`):

    NEW ──watched──> OPENING ──the channel is open──> READING

    READING ──nothing is left──────────> IDLE ────the socket has more──> READING
            ──more, or the link is full> WAITING ──its turn────────────> READING
            ──the window is used up────> STARVED ──the window opens────> WAITING
            ──FIN: EOF is said─────────> ENDED

From the channel to the socket (`ToSocket`). Bytes that the socket does not take are kept; EOF and
CLOSE take effect after the last of them:

    OPEN ──EOF──> DRAINING ──all taken: FIN──> FINISHED
     │               │                             │
     │             CLOSE                         CLOSE
     │               v                             v
     │            CLOSING ────all taken: FIN───> ENDED
     └──CLOSE──> CUT

ENDED and CUT last until the reader has everything. Both directions end in CLOSED, from any state:
the socket is closed.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final, final

from tunnelctl.net.buffers import SLOT_DATA


class Reading(Enum):
    """The states of the direction from the socket."""

    NEW = auto()  # the socket is not watched
    OPENING = auto()  # bytes stay there until the channel is open
    READING = auto()  # bytes are being read
    IDLE = auto()  # there are none: the socket reports new ones
    WAITING = auto()  # a turn is due, or the link is full
    STARVED = auto()  # the peer's window is used up
    ENDED = auto()  # FIN came, and EOF was sent
    CLOSED = auto()


class Writing(Enum):
    """The states of the direction to the socket: what is due when it has taken all bytes."""

    OPEN = auto()  # nothing: more may come
    DRAINING = auto()  # FIN, because EOF came
    FINISHED = auto()  # nothing: FIN was sent
    CLOSING = auto()  # FIN and then the end, because EOF and CLOSE came
    CUT = auto()  # the end: CLOSE came without EOF
    ENDED = auto()  # the end: FIN was sent, and CLOSE came
    CLOSED = auto()


# Looked up once, because they are needed for every read and write.
_READING: Final = Reading.READING
_IDLE: Final = Reading.IDLE
_WAITING: Final = Reading.WAITING
_STARVED: Final = Reading.STARVED


@final
class FromSocket:
    """From the socket to the channel."""

    __slots__ = ("has_fin", "is_bulk", "is_wide", "state")

    def __init__(self) -> None:
        self.state: Reading = Reading.NEW
        self.has_fin = False  # FIN is there, after bytes to be read
        self.is_bulk = False  # the last read filled a whole slot: read many at once
        self.is_wide = False  # such a read came, and its receive buffer was widened

    @property
    def is_established(self) -> bool:
        """Whether the channel was opened."""
        return self.state is not Reading.NEW and self.state is not Reading.OPENING

    @property
    def has_ended(self) -> bool:
        """Whether everything up to FIN was read."""
        return self.state is Reading.ENDED

    def watch(self) -> bool:
        """Watch the socket from now on; returns whether it was not watched before."""
        if self.state is not Reading.NEW:
            return False
        self.state = Reading.OPENING
        return True

    def open(self) -> None:
        """The channel is there: read."""
        self.state = _READING

    def readable(self) -> bool:
        """The socket has bytes, or FIN; returns whether to read now."""
        if self.state is not _IDLE:
            return False
        self.state = _READING
        return True

    def wait(self) -> None:
        """Continue in another turn, which was requested."""
        self.state = _WAITING

    def turn(self) -> bool:
        """The turn has come; returns whether to read."""
        if self.state is not _WAITING:
            return False
        self.state = _READING
        return True

    def drained(self) -> None:
        """Nothing is left to read."""
        self.state = _IDLE

    def starve(self) -> None:
        """The peer accepts no more for now."""
        self.state = _STARVED

    def feed(self) -> bool:
        """The peer accepts more; returns whether to request a turn."""
        if self.state is not _STARVED:
            return False
        self.state = _WAITING
        return True

    def end(self) -> None:
        """FIN was read."""
        self.state = Reading.ENDED

    def close(self) -> None:
        """The socket is closed."""
        self.state = Reading.CLOSED


@final
class ToSocket:
    """From the channel to the socket, with the bytes that the socket has not taken."""

    __slots__ = ("arrived", "pending", "state")

    def __init__(self) -> None:
        self.state: Writing = Writing.OPEN
        # Of the read under way: valid until it is over, and not copied until then.
        self.arrived: list[memoryview] = []
        self.pending: deque[bytearray] = deque()

    @property
    def is_closed(self) -> bool:
        """Whether the socket is closed."""
        return self.state is Writing.CLOSED

    @property
    def has_sent_fin(self) -> bool:
        """Whether the reader got a clean end."""
        return self.state is Writing.FINISHED or self.state is Writing.ENDED

    @property
    def was_cut(self) -> bool:
        """Whether CLOSE came without EOF, and no FIN was sent."""
        return self.state is Writing.CUT

    def keep(self, data: memoryview) -> bool:
        """Copy what the socket did not take, small pieces into large ones; returns whether it
        begins a new one, which the socket was not offered yet."""
        if self.pending and len(self.pending[-1]) + len(data) <= SLOT_DATA:
            self.pending[-1] += data
            return False
        self.pending.append(bytearray(data))
        return True

    def eof(self) -> None:
        """The peer sends no more."""
        if self.state is Writing.OPEN:
            self.state = Writing.DRAINING

    def close(self) -> None:
        """The peer closed the channel."""
        self.state = _AT_CLOSE.get(self.state, self.state)

    def finish(self) -> bool:
        """Whether FIN is to be sent now; from then on it counts as sent."""
        after = _AT_FIN.get(self.state)
        if self.pending or after is None:
            return False
        self.state = after
        return True

    def is_last(self) -> bool:
        """Whether the socket is to be closed, once the reader has everything."""
        is_over = self.state is Writing.ENDED or self.state is Writing.CUT
        return is_over and not self.pending

    def end(self) -> None:
        """FIN was sent, although the peer did not send EOF."""
        self.state = Writing.ENDED

    def drop(self) -> None:
        """The socket is closed."""
        self.state = Writing.CLOSED
        self.arrived.clear()
        self.pending.clear()


_AT_CLOSE: Final = {
    Writing.OPEN: Writing.CUT,
    Writing.DRAINING: Writing.CLOSING,
    Writing.FINISHED: Writing.ENDED,
}
_AT_FIN: Final = {Writing.DRAINING: Writing.FINISHED, Writing.CLOSING: Writing.ENDED}


def last_bytes(views: list[memoryview], count: int) -> list[memoryview]:
    """The last `count` bytes of `views`."""
    kept: list[memoryview] = []
    for view in reversed(views):
        if count <= len(view):
            return [view[len(view) - count :], *reversed(kept)]
        count -= len(view)
        kept.append(view)
    return list(reversed(kept))
