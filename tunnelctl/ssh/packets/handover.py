"""The state that a Transport's thread passes to the event loop with its socket.

Owns no state of its own. See `packetizer.py` for the two phases.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto
from typing import Protocol

from tunnelctl.ssh.packets.ciphers import Opener, Sealer


class Direction(Flag):
    """The direction of packets, from our side."""

    OUTBOUND = auto()
    INBOUND = auto()


@dataclass(slots=True)
class PacketState:
    """Ciphers, sequence numbers and bytes already read."""

    sealer: Sealer
    opener: Opener
    sent: int = 0
    received: int = 0
    unread: bytes = b""

    def reset_sequence(self, direction: Direction) -> None:
        """Count packets from zero again: strict key exchange (OpenSSH PROTOCOL section 1.10)."""
        if Direction.OUTBOUND in direction:
            self.sent = 0
        if Direction.INBOUND in direction:
            self.received = 0


class LoopSide(Protocol):
    """The reports of the parked thread to the event loop; every method may be called from the
    thread."""

    def post_message(self, payload: bytes) -> None:
        """Send this message of key exchange."""

    def post_sealer(self, sealer: Sealer) -> None:
        """Seal everything after this with the new keys."""

    def post_opener(self, opener: Opener) -> None:
        """Open everything after this with the new keys."""

    def post_sequence_reset(self, direction: Direction) -> None:
        """Strict key exchange: count the packets of this direction from zero again."""

    def post_ready(self) -> None:
        """The thread is done with the message that it got."""

    def post_ended(self) -> None:
        """The thread ends, because of an error or on request."""
