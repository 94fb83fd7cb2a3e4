"""What may watch the bytes of a relay.

Owns nothing. A tap must never change a byte, keep a view after the call, block, or raise.
"""

from __future__ import annotations

from tunnelctl.native import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Tap:
    """Sees every byte of one connection, once and in order; an empty view is the end of the stream
    in that direction. This one does nothing with them."""

    def from_socket(self, view: memoryview) -> None:
        """These bytes came from the socket, and go into the channel next."""

    def to_socket(self, view: memoryview) -> None:
        """The socket took these bytes, which came from the channel."""

    def ended(self) -> None:
        """The connection has ended."""
