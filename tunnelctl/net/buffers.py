"""Buffers of the data path, in anonymous mmap: a page costs nothing until it is used.

Owns the areas that all links of one loop share: only one callback runs at a time, so all can
receive, decrypt and encrypt in the same place. Must never be used from another thread, and no view
may be kept after the callback that took it, except that of a `SlotArea` that was lent.
"""

from __future__ import annotations

import mmap
from typing import Final

from tunnelctl.wire.window import WindowBudget

# One slot holds one packet of 32 KiB of channel data as AES-GCM and chacha20-poly1305 seal it:
# 4 bytes length, 1 padding length, 9 header of CHANNEL_DATA, the data, 6 padding, 16 tag.
SLOT_DATA: Final = 32 * 1024
SLOT_HEAD: Final = 14
SLOT_PADDING: Final = 6
SLOT_TAG: Final = 16
SLOT_STRIDE: Final = SLOT_HEAD + SLOT_DATA + SLOT_PADDING + SLOT_TAG
SLOTS: Final = 16  # 8 are slower, 32 are no faster (benchmarks)

RECEIVE_SIZE: Final = 1024 * 1024


def area(size: int) -> memoryview:
    """Zeroed memory of `size` bytes that uses no pages until it is written to."""
    return memoryview(mmap.mmap(-1, size))


class SlotArea:
    """SLOTS packets side by side, with the views of the fast path, made once."""

    def __init__(self) -> None:
        self.view = area(SLOTS * SLOT_STRIDE)
        starts = [slot * SLOT_STRIDE for slot in range(SLOTS)]
        self.data = [self.view[s + SLOT_HEAD : s + SLOT_HEAD + SLOT_DATA] for s in starts]
        # The data of the first k slots, to be filled by one recvmsg_into.
        self.first = [self.data[:k] for k in range(SLOTS + 1)]
        # The encrypted part of a full slot, from the padding length to the end of the padding; and
        # the whole packet, with its length before it and its tag after it.
        self.plain = [self.view[s + 4 : s + SLOT_STRIDE - SLOT_TAG] for s in starts]
        self.packets = [self.view[s : s + SLOT_STRIDE] for s in starts]


class Buffers:
    """The shared areas of one loop, and the budget of the windows of its links."""

    def __init__(self) -> None:
        self.receive = area(RECEIVE_SIZE)
        self.opened = area(RECEIVE_SIZE)
        self.plain = SlotArea()
        self.window_budget = WindowBudget()
        self._sealed: list[SlotArea] = []

    def borrow_sealed(self) -> SlotArea:
        """An area for encrypted packets; return it with `return_sealed` when it was sent."""
        return self._sealed.pop() if self._sealed else SlotArea()

    def return_sealed(self, lent: SlotArea) -> None:
        """Take back a lent area. Two are kept, so that a burst of links does not hold memory."""
        if len(self._sealed) < 2:
            self._sealed.append(lent)
