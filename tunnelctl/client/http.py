"""One request and its answer, over a socket to the daemon.

Owns the client side of HTTP: each request has its own connection and is HTTP/1.0, so that the end
of the connection ends an answer, and a stream of events can be read with `select`. Uses only a
small part of the standard library, because every command waits for this import.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tunnelctl import __version__, clock
from tunnelctl.client import sentences
from tunnelctl.closeable import Closeable
from tunnelctl.errors import Code, Failure
from tunnelctl.state.documents.api_version import API_VERSION

Document = dict[str, Any]
T = TypeVar("T")

ANSWER_WITHIN = 15.0  # seconds for requests that the daemon answers at once
_CHUNK = 65536
_SERVER = "tunnelctl/"


class Problem(Failure):
    """The daemon refused the request (RFC 9457).

    `mistakes` are those in a profile, one per line; `more` counts the others.
    """

    def __init__(self, document: Document) -> None:
        code = document.get("code")
        known = Code(code) if code in set(Code) else Code.INTERNAL
        message = document.get("detail") or document.get("title") or "the daemon refused"
        super().__init__(known, str(message), str(document.get("hint") or ""))
        self.mistakes = tuple(str(mistake) for mistake in document.get("mistakes", ()))
        self.more = int(document.get("more", 0))


class Exchange:
    """One request that was sent; `answer` waits for the result."""

    def __init__(
        self, sock: socket.socket, deadline: float, on_version: Callable[[str], None]
    ) -> None:
        self._sock = sock
        self._deadline = deadline
        self._on_version = on_version

    def answer(self) -> Document:
        """The document in the answer.

        Raises:
            Failure: `Problem` as the daemon reported it, or DAEMON_NOT_RUNNING when it went away
                or did not answer in time.
        """
        with self._sock:
            head, body = read_head(self._sock, self._deadline)
            body += read_rest(self._sock, self._deadline)
        self._on_version(head.version)
        return document_of(head, body)

    def close(self) -> None:
        """Do not wait for the answer."""
        self._sock.close()


class Stream(Closeable, Generic[T]):
    """A stream of the daemon, each item read by `read`, which returns None for an item
    to skip. Ends when the daemon does; close it, or use it with `with`."""

    def __init__(
        self, sock: socket.socket, received: bytes, read: Callable[[Document], T | None]
    ) -> None:
        self._sock = sock
        self._read = read
        self._received = received

    def next(self, timeout: float | None = None) -> T | None:
        """The next event, or None if none arrived within `timeout` seconds (None: no limit).

        Raises:
            Failure: DAEMON_NOT_RUNNING, the stream ended; INTERNAL, the daemon speaks another API.
        """
        deadline = None if timeout is None else clock.monotonic() + timeout
        while True:
            block, found, rest = self._received.partition(b"\n\n")
            if found:
                self._received = rest
                document = _event(block)
                item = None if document is None else self._read(document)
                if item is not None:
                    return item
                continue
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            if not select.select([self._sock], [], [], left)[0]:
                return None
            try:
                chunk = self._sock.recv(_CHUNK)
            except OSError:  # reset: the daemon was killed
                chunk = b""
            if not chunk:
                raise sentences.daemon_stopped()
            self._received += chunk

    def fileno(self) -> int:
        """For `select`: readable when more has arrived; `next` may have an event before that."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the stream, which ends its lease."""
        self._sock.close()


class Head:
    """The head of an answer."""

    def __init__(self, text: str) -> None:
        status_line, *lines = text.split("\r\n")
        words = status_line.split(" ", 2)
        self.status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        pairs = (line.partition(":") for line in lines)
        self._fields = {name.strip().lower(): value.strip() for name, _, value in pairs}

    def field(self, name: str) -> str:
        """A field of the head, or empty; `name` in any case."""
        return self._fields.get(name.lower(), "")

    @property
    def version(self) -> str:
        """The version of the daemon, or empty."""
        server = self._fields.get("server", "")
        return server.removeprefix(_SERVER) if server.startswith(_SERVER) else ""

    @property
    def length(self) -> int | None:
        """The number of bytes that follow, if known."""
        length = self._fields.get("content-length", "")
        return int(length) if length.isdigit() else None


def send(sock: socket.socket, method: str, target: str, body: bytes, deadline: float) -> None:
    """Send the request; `deadline` is in monotonic seconds, here and below.

    Raises:
        Failure: DAEMON_NOT_RUNNING, the daemon went away.
    """
    lines = [f"{method} {target} HTTP/1.0", "Host: localhost", "Accept: application/json"]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    try:
        sock.settimeout(left_until(deadline))
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    except OSError:
        raise sentences.daemon_went_away() from None


def read_head(sock: socket.socket, deadline: float) -> tuple[Head, bytes]:
    """The head of an answer, and the part of the body that came with it.

    Raises:
        Failure: DAEMON_NOT_RUNNING, the daemon went away or does not answer.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = _receive(sock, deadline)
        if not chunk:
            raise sentences.daemon_went_away()
        received += chunk
    head, _, rest = received.partition(b"\r\n\r\n")
    return Head(head.decode("latin-1")), rest


def read_rest(sock: socket.socket, deadline: float) -> bytes:
    """The whole answer. Raises as `read_head`."""
    chunks = []
    while chunk := _receive(sock, deadline):
        chunks.append(chunk)
    return b"".join(chunks)


def _receive(sock: socket.socket, deadline: float) -> bytes:
    try:
        sock.settimeout(left_until(deadline))
        return sock.recv(_CHUNK)
    except TimeoutError:
        raise sentences.daemon_silent() from None
    except OSError:
        raise sentences.daemon_went_away() from None


def document_of(head: Head, body: bytes) -> Document:
    """The object in an answer.

    Raises:
        Failure: `Problem` as the daemon reported it, or INTERNAL where it speaks another API.
    """
    if head.length is not None and len(body) != head.length:
        raise sentences.daemon_went_away()
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise sentences.answer_not_an_object(head.status)
    if head.status >= 400:
        raise Problem(document)
    if document.get("api_version") != API_VERSION:
        raise sentences.another_api(head.version, __version__)
    return document


def _event(block: bytes) -> Document | None:
    """The data of one server-sent event; None for a comment."""
    data = [line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")]
    event = json.loads(b"\n".join(data)) if data else None
    return event if isinstance(event, dict) else None


def left_until(deadline: float) -> float:
    """Seconds until the deadline; never zero, which would mean no wait at all."""
    return max(deadline - clock.monotonic(), 0.001)
