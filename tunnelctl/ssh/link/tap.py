"""The interface of an observer of a relay's bytes.

A tap must never change a byte, keep a view after the call, block, or raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tunnelctl.native import mypyc_attr
from tunnelctl.net.buffers import SLOT_DATA

# What a tap sees of the end of a stream.
END: Final = memoryview(b"")


@mypyc_attr(allow_interpreted_subclasses=True)
class Tap:
    """Sees every byte of one connection that it does not skip, once and in order; an empty view is
    the end of the stream in that direction. This one does nothing with them."""

    def skips_from_socket(self, count: int) -> bool:
        """Whether the next bytes from the socket need not be shown: then they are counted now."""
        return False

    def skips_to_socket(self, count: int) -> bool:
        """The same for bytes to the socket."""
        return False

    def from_socket(self, view: memoryview) -> None:
        """These bytes came from the socket, and go into the channel next."""

    def to_socket(self, view: memoryview) -> None:
        """The socket took these bytes, which came from the channel."""

    def ended(self) -> None:
        """The connection has ended."""


def show_read(tap: Tap, slots: Sequence[memoryview], count: int) -> None:
    """Show the `count` bytes that were read from the socket into the slots."""
    if count >= SLOT_DATA and tap.skips_from_socket(count):  # not worth a call for less
        return
    for view in slots:
        tap.from_socket(view[: min(count, SLOT_DATA)])
        count -= SLOT_DATA
        if count <= 0:
            return


def show_sent(tap: Tap, views: Sequence[memoryview | bytearray], taken: int) -> None:
    """Show the `taken` bytes of the views that the socket took, and overwrite them."""
    is_shown = taken < SLOT_DATA or not tap.skips_to_socket(taken)
    for view in views:
        if taken <= 0:
            return
        part = memoryview(view)[:taken]
        if is_shown:
            tap.to_socket(part)
        taken -= len(part)
        if not part.readonly:
            wipe(part)


def wipe(view: memoryview) -> None:
    """Leave no secret that is blacked out elsewhere in a shared buffer, where a short message would
    stay until a longer one comes. A full one is overwritten by the next."""
    if len(view) < SLOT_DATA:
        view[:] = bytes(len(view))
