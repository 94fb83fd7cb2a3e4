"""The reader of the daemon, which the pages of all browsers depend on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.support.waiting import eventually_async
from tunnelctl.dashboard.daemon_client import DaemonClient
from tunnelctl.dashboard.live import Live

_STREAM = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {no JSON\n\n"


async def test_a_daemon_that_cannot_be_read_is_told_and_asked_again(tmp_path: Path) -> None:
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(_STREAM)
        await writer.drain()
        writer.close()

    path = tmp_path / "control.sock"
    async with await asyncio.start_unix_server(answer, path):
        with Live(DaemonClient(path), read_only=False).listening() as listener:
            told = await anext(listener.messages())
            about = json.loads(told.partition(b"data: ")[2])
            assert not about["answers"]
            assert "an error inside the dashboard: JSONDecodeError" in about["message"]
            before = asked
            await eventually_async(lambda: asked > before, "it is asked again")
