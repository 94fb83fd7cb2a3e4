"""The daemon's control API, asked from the dashboard's loop.

Owns the connections to the control socket: HTTP/1.0, one request each, as in client/http.py. Must
never send a byte to a socket that another user listens on: an answer may be a passphrase.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunnelctl.client import SocketUnusable, sentences
from tunnelctl.client.http import ANSWER_WITHIN, LOOK_WITHIN, Document, Head, document_of
from tunnelctl.errors import Failure, reason
from tunnelctl.net.peers import is_ours

_CHUNK = 65536
_HEAD_BYTES = 65536
_FULL_STEP = 0.1  # seconds between two attempts if the daemon has many clients


@dataclass
class DaemonAnswer:
    """An answer whose head has arrived. `body` has the rest, as it comes."""

    head: Head
    reader: asyncio.StreamReader

    async def body(self) -> AsyncIterator[bytes]:
        """The bytes of the body.

        Raises:
            Failure: DAEMON_NOT_RUNNING, it ended before the answer was complete.
        """
        left = self.head.length
        while left is None or left > 0:
            try:
                chunk = await self.reader.read(_CHUNK)
            except OSError:  # reset: it was killed
                chunk = b""
            if not chunk:
                break
            left = None if left is None else left - len(chunk)
            yield chunk
        if left:
            raise sentences.daemon_went_away()


class DaemonClient:
    """The daemon behind a control socket. `version` is that of its last answer, or empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.version = ""

    @asynccontextmanager
    async def asked(
        self, method: str, target: str, body: bytes = b"", *, within: float | None = ANSWER_WITHIN
    ) -> AsyncIterator[DaemonAnswer]:
        """The answer to one request, whose head must arrive `within` so many seconds.

        Raises:
            Failure: DAEMON_NOT_RUNNING, none answers.
        """
        reader, writer = await self._connected(within)
        try:
            head = await self._exchanged(reader, writer, _request(method, target, body), within)
            yield DaemonAnswer(head, reader)
        finally:
            writer.transport.abort()

    async def document(self, target: str) -> Document:
        """The object that a GET is answered with, soon.

        Raises:
            Failure: DAEMON_NOT_RUNNING; a `Problem`; INTERNAL, it speaks another API.
        """
        try:
            async with asyncio.timeout(LOOK_WITHIN), self.asked("GET", target) as answer:
                body = b"".join([chunk async for chunk in answer.body()])
        except TimeoutError:
            raise sentences.daemon_silent() from None
        return document_of(answer.head, body)

    async def events(self, target: str) -> AsyncGenerator[dict[str, Any], None]:
        """The data of each server-sent event. First an empty one: from here on none is missed.

        Raises:
            Failure: DAEMON_NOT_RUNNING, also when the stream ends; a `Problem`.
        """
        async with self.asked("GET", target) as answer:
            if answer.head.status != 200:
                document_of(answer.head, b"".join([chunk async for chunk in answer.body()]))
            received = b""
            yield {}
            async for chunk in answer.body():
                *blocks, received = (received + chunk).split(b"\n\n")
                for block in blocks:
                    for line in block.split(b"\n"):
                        if line.startswith(b"data:"):
                            yield json.loads(line[5:])
        raise sentences.daemon_stopped()

    async def _exchanged(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: bytes,
        within: float | None,
    ) -> Head:
        """The head of the answer to a request."""
        try:
            async with asyncio.timeout(within):
                writer.write(request)
                await writer.drain()
                raw = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            raise sentences.daemon_silent() from None
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise sentences.daemon_went_away() from None
        head = Head(raw.decode("latin-1"))
        self.version = head.version
        return head

    async def _connected(
        self, within: float | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(within):
                await self._connect(sock)
            if not is_ours(sock):
                raise SocketUnusable(self._path, "another user listens on it")
            return await asyncio.open_unix_connection(sock=sock, limit=_HEAD_BYTES)
        except TimeoutError:
            sock.close()
            raise sentences.daemon_silent() from None
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            sock.close()
            raise sentences.daemon_not_running() from None
        except OSError as error:
            sock.close()
            raise SocketUnusable(self._path, reason(error)) from None
        except (Failure, asyncio.CancelledError):
            sock.close()
            raise

    async def _connect(self, sock: socket.socket) -> None:
        """Connect. A unix socket with a full backlog refuses (EAGAIN), which asyncio takes for a
        connection that comes later."""
        while True:
            try:
                return sock.connect(str(self._path))
            except BlockingIOError:
                await asyncio.sleep(_FULL_STEP)


def _request(method: str, target: str, body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.0", "Host: localhost", "Accept: application/json"]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
