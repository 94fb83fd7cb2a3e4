"""Copied bytes, as the parser gets them.

Must never leave a copy behind: each is overwritten after it was parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunnelctl.quick_dataclass import dataclass

if TYPE_CHECKING:
    from tunnelctl.inspect.backlog import Batch
    from tunnelctl.inspect.tap import Tapped


@dataclass(slots=True)
class Copied:
    """Bytes of one direction of a connection: `offset` is the position of the first, `at` when they
    passed (monotonic). `is_eof`: the direction ends here; `is_end`: the connection has ended."""

    tapped: Tapped
    from_client: bool
    offset: int
    data: bytearray
    at: float
    is_eof: bool = False
    is_end: bool = False


def copies(batch: Batch) -> Iterator[Copied]:
    """All copies of a batch; the bytes of each are overwritten once the next one is asked for."""
    start, values, everything = 0, iter(batch.records), batch.data
    for tapped, from_client, offset, length, *rest in zip(*[values] * 7, strict=True):
        whole = length == len(everything)
        data = everything if whole else everything[start : start + length]
        start += length
        yield Copied(tapped, from_client, offset, data, *rest)
        wipe(data)
    wipe(everything)


def wipe(data: bytearray) -> None:
    """Overwrite it where it is."""
    data[:] = bytes(len(data))
