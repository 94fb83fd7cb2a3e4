"""The two directions of a channel, each in a named state (RFC 4254 sections 5.1 to 5.3).

    what we send (`Sending`)

        OPENING ──confirmed──> OPEN ──EOF──> ENDED ──CLOSE──> CLOSED
           │                    └───────────CLOSE───────────────^ ^
           └──we leave──> ABANDONED ──confirmed: CLOSE────────────┘

    what comes (`Receiving`)

        OPENING ──confirmed──> OPEN ──EOF──> ENDED ──CLOSE──> CLOSED
                                └───────────CLOSE───────────────^

Both leave OPENING together, when the confirmation or refusal comes. EOF is not required before
CLOSE. A channel that we close before it is confirmed is ABANDONED: the peer's number of it is not
known yet, so CLOSE has to wait for the confirmation. A lost connection, or a refusal, leads from
any state to CLOSED, and nothing is sent.

Owns the window of each direction. Must never allow more in a direction than its state and its
window do; `channel.py` decides which messages and events follow.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, final

from tunnelctl.wire.messages import U32_MAX, ProtocolError
from tunnelctl.wire.window import PACKET_MAX, ReceiveWindow, RoundTrip


class Phase(Enum):
    """The states of a direction."""

    OPENING = auto()  # the channel is not confirmed
    ABANDONED = auto()  # not confirmed, and not wanted any more
    OPEN = auto()
    ENDED = auto()  # EOF was said
    CLOSED = auto()  # CLOSE was sent, or nobody is there to send it to


# Looked up once, because they are needed for every packet.
_OPENING: Final = Phase.OPENING
_ABANDONED: Final = Phase.ABANDONED
_OPEN: Final = Phase.OPEN
_ENDED: Final = Phase.ENDED
_CLOSED: Final = Phase.CLOSED


@final
class Sending:
    """Our direction: the peer's window in bytes, and the largest packet that it accepts."""

    __slots__ = ("packet_max", "phase", "window")

    def __init__(self) -> None:
        self.phase: Phase = _OPENING
        self.window = 0
        self.packet_max = 0

    def begin(self, window: int, packet_max: int) -> bool:
        """Both sides know the channel; returns whether it is still wanted. If not, CLOSE is due.

        Raises:
            ProtocolError: no data fits in a packet.
        """
        if packet_max == 0:
            raise ProtocolError("the peer accepts no data in a channel (maximum packet size 0)")
        self.window = window
        # Our own slots also limit the size of a packet.
        self.packet_max = min(packet_max, PACKET_MAX)
        is_wanted = self.phase is _OPENING
        self.phase = _OPEN if is_wanted else _CLOSED
        return is_wanted

    @property
    def has_left(self) -> bool:
        """Whether we closed the channel, or it is gone, so that its handler gets no further
        events."""
        return self.phase is _CLOSED or self.phase is _ABANDONED

    def room(self) -> int:
        """How many bytes may be sent now; 0 unless OPEN."""
        return self.window if self.phase is _OPEN else 0

    def sent(self, count: int) -> None:
        """Take `count` bytes off the window."""
        self.window -= count

    def widen(self, count: int) -> None:
        """The peer accepts `count` more bytes.

        Raises:
            ProtocolError: that makes more than a window can be (RFC 4254 section 5.2).
        """
        if self.window + count > U32_MAX:
            raise ProtocolError("the peer widened the window of a channel past 2^32-1")
        self.window += count

    def end(self) -> bool:
        """We send no more; returns whether EOF is to be sent."""
        if self.phase is not _OPEN:
            return False
        self.phase = _ENDED
        return True

    def close(self) -> bool:
        """We close; returns whether CLOSE is to be sent now."""
        if self.phase is _OPENING:
            self.phase = _ABANDONED
        elif self.phase is _OPEN or self.phase is _ENDED:
            self.phase = _CLOSED
            return True
        return False

    def lose(self) -> None:
        """The channel is gone, and no CLOSE is to be sent."""
        self.phase = _CLOSED


@final
class Receiving:
    """The peer's direction, and our window for it."""

    __slots__ = ("phase", "window")

    def __init__(self, round_trip: RoundTrip) -> None:
        self.phase: Phase = _OPENING
        self.window = ReceiveWindow(round_trip)

    @property
    def is_opening(self) -> bool:
        """Whether the channel waits for the peer to confirm it."""
        return self.phase is _OPENING

    def begin(self) -> None:
        """Both sides know the channel."""
        self.phase = _OPEN

    def take(self, count: int) -> None:
        """`count` bytes came.

        Raises:
            ProtocolError: the peer may not send them.
        """
        if self.phase is not _OPEN:
            raise self.unexpected()
        self.window.take(count)

    def unexpected(self) -> ProtocolError:
        """The violation in bytes that come now, unless OPEN."""
        when = "before confirming it" if self.phase is _OPENING else "after its end"
        return ProtocolError(f"the peer sent data in a channel {when}")

    def end(self) -> bool:
        """The peer sent EOF; returns whether it is the first."""
        if self.phase is not _OPEN:
            return False
        self.phase = _ENDED
        return True

    def close(self) -> None:
        """The peer sent CLOSE.

        Raises:
            ProtocolError: it did before.
        """
        if self.phase is _CLOSED:
            raise ProtocolError("a channel was closed twice")
        self.lose()

    def lose(self) -> None:
        """The channel is gone."""
        self.phase = _CLOSED
        self.window.close()
