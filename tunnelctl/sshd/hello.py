"""The service behind the embedded server: it answers over HTTP, so that a first tunnel has a
target.

Owns one listening socket on 127.0.0.1. Must never read more of a request than its head.
"""

from __future__ import annotations

import asyncio

GREETING = "Hello, World!\n"
_HEAD_MAX = 16 * 1024
_HEAD_SECONDS = 10.0
_ANSWER = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    f"Content-Length: {len(GREETING)}\r\nConnection: close\r\n\r\n{GREETING}"
).encode()


class HelloService:
    """Answers every HTTP request with the greeting."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def start(self) -> None:
        """Listen on a port that the system chooses."""
        # In two steps: if the caller is cancelled before it serves, the server can still be closed.
        self._server = await asyncio.start_server(
            self._greet, "127.0.0.1", 0, limit=_HEAD_MAX, start_serving=False
        )
        self.port = int(self._server.sockets[0].getsockname()[1])
        await self._server.start_serving()

    async def close(self) -> None:
        """Stop, and end the open connections."""
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._clients):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
            writer.write(_ANSWER)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # not an HTTP request, or the client left: there is nothing to answer
        finally:
            self._clients.discard(writer)
            writer.close()
