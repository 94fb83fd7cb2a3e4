"""The record of a relay: the bytes of both directions, and how it ended.

Must never cost more than two additions for each read or write.
"""

from __future__ import annotations

from enum import Enum, auto

from tunnelctl.ssh.link.tap import Tap


class Ending(Enum):
    """How a relay ended. `HERE` is its socket, `THERE` the far end of its channel."""

    FIN = auto()  # both ended their streams
    LEFT = auto()  # the socket broke before the channel was open
    RESET_HERE = auto()
    RESET_THERE = auto()
    REFUSED = auto()  # the peer refused to open the channel
    CLOSED = auto()  # by an order
    LINK_LOST = auto()


class Traffic:
    """Bytes between sockets and channels, as seen from the sockets."""

    __slots__ = ("from_socket", "to_socket")

    def __init__(self) -> None:
        self.from_socket = 0
        self.to_socket = 0


class Record(Traffic):
    """The traffic of one relay, which it also adds to a `total`; and what watches its bytes, set
    before the relay is made. This one does not keep how it ended."""

    __slots__ = ("tap", "total")

    def __init__(self, total: Traffic) -> None:
        super().__init__()
        self.total = total
        self.tap: Tap | None = None

    def ended(self, how: Ending) -> None:
        """The relay has ended. Called once."""
