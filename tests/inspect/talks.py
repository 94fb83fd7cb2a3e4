"""Conversations over an inspected connection, as the relay would report their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tests.support.waiting import eventually_async
from tunnelctl.inspect import backlog
from tunnelctl.inspect.inspector import Inspection, Inspector
from tunnelctl.inspect.tap import ConnectionTap
from tunnelctl.state.documents.exchange import HttpExchange

CLIENT, SERVER = "client", "server"
Talk = Iterable[tuple[str, bytes]]


@asynccontextmanager
async def inspected(room: int = backlog.BYTES_MAX) -> AsyncIterator[Inspection]:
    """An inspected forward, with the thread that parses; `room` is for bytes that wait for it."""
    inspector = Inspector(asyncio.get_running_loop(), room)
    try:
        yield inspector.inspect("dev/web")
    finally:
        await inspector.close()


async def pass_on(
    inspection: Inspection, tap: ConnectionTap, talk: Talk, size: int | None = None
) -> None:
    """Report the bytes to the tap of a connection whose client is here, `size` at a time. What it
    saw is overwritten then, as the relay does."""
    pieces = 0
    for side, data in talk:
        step = size or max(1, len(data))
        for start in range(0, len(data), step):
            piece = bytearray(memoryview(data)[start : start + step])
            (tap.from_socket if side == CLIENT else tap.to_socket)(memoryview(piece))
            piece[:] = b"#" * len(piece)
            pieces += 1
            if pieces % 10_000 == 0:  # so many small pieces would be too much at once
                await eventually_async(lambda: is_parsed(inspection), "they are parsed")


async def shown(inspection: Inspection, talk: Talk, size: int | None = None) -> list[HttpExchange]:
    """The exchanges of a connection that ends after the talk."""
    before = len(inspection.last())
    tap = inspection.tap("127.0.0.1:50000", "17", client_is_socket=True)
    await pass_on(inspection, tap, talk, size)
    tap.ended()
    await eventually_async(lambda: is_parsed(inspection), "everything is parsed")
    return inspection.last()[before:]


def is_parsed(inspection: Inspection) -> bool:
    """Whether nothing waits for the parser."""
    return inspection.backlog.is_empty
