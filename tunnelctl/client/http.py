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
LOOK_WITHIN = 5.0  # seconds for a live view, after which what it shows may be wrong
_QUIET_FOR = 2.0  # seconds after which a user is told what is waited for
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


class AnswerDeadline:
    """The end of the wait for an answer, so many `seconds` from now. `on_silence` is called once,
    two seconds after the daemon should have answered."""

    def __init__(self, seconds: float, on_silence: Callable[[], object] | None = None) -> None:
        self._at = clock.monotonic() + seconds
        self._on_silence = on_silence
        quiet_for = max(0.0, seconds - ANSWER_WITHIN) + _QUIET_FOR
        self._silent_at = clock.monotonic() + quiet_for

    @property
    def has_passed(self) -> bool:
        """Whether the wait is over."""
        return clock.monotonic() > self._at

    @property
    def left(self) -> float:
        """Seconds until then; never zero, which would mean no wait at all."""
        return max(self._at - clock.monotonic(), 0.001)

    def receive(self, sock: socket.socket) -> bytes:
        """What the daemon has sent.

        Raises:
            TimeoutError: nothing.
        """
        if self._on_silence is not None:
            quiet_for = max(self._silent_at - clock.monotonic(), 0.0)
            if not select.select([sock], [], [], min(quiet_for, self.left))[0]:
                self.note()
        sock.settimeout(self.left)
        return sock.recv(_CHUNK)

    def note(self) -> None:
        """Call `on_silence` if it is time."""
        if self._on_silence is not None and clock.monotonic() >= self._silent_at:
            self._on_silence()
            self._on_silence = None


class Exchange:
    """One request that was sent; `answer` waits for the result."""

    def __init__(
        self, sock: socket.socket, deadline: AnswerDeadline, on_version: Callable[[str], None]
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


def send(
    sock: socket.socket, method: str, target: str, body: bytes, deadline: AnswerDeadline
) -> None:
    """Send the request.

    Raises:
        Failure: DAEMON_NOT_RUNNING, the daemon went away, or does not read it.
    """
    lines = [f"{method} {target} HTTP/1.0", "Host: localhost", "Accept: application/json"]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    try:
        sock.settimeout(deadline.left)
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    except TimeoutError:
        raise sentences.daemon_silent() from None
    except OSError:
        raise sentences.daemon_went_away() from None


def read_head(sock: socket.socket, deadline: AnswerDeadline) -> tuple[Head, bytes]:
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


def read_rest(sock: socket.socket, deadline: AnswerDeadline) -> bytes:
    """The whole answer. Raises as `read_head`."""
    chunks = []
    while chunk := _receive(sock, deadline):
        chunks.append(chunk)
    return b"".join(chunks)


def _receive(sock: socket.socket, deadline: AnswerDeadline) -> bytes:
    try:
        return deadline.receive(sock)
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
