"""Speaks the control API over the unix socket, and starts the daemon when none answers.

Owns the caller's half of SPEC section 4. The standard library alone, and little of it: every
command of the command line waits for this import. Each request has its own connection and is
HTTP/1.0, so that the end of an answer is the end of the connection, and a stream of events can be
read with `select` alone. Must never send a byte to a socket that another user listens on: an `up`
carries secrets.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

from tunnelctl import __version__, clock
from tunnelctl.config.paths import SOCKET_VARIABLE, Paths
from tunnelctl.errors import Code, Failure
from tunnelctl.net.peers import is_ours

API_VERSION = 1  # of the answers that this client understands

Document = dict[str, Any]

_ANSWER_WITHIN = 15.0  # seconds for what the daemon does at once
_FULL_STEP = 0.01  # seconds between two tries where the daemon has many callers
_STOP_WITHIN = 15.0  # seconds; a daemon promises ten
_START_WITHIN = 30.0  # seconds for a slow machine to import everything
_CHUNK = 65536
_SERVER = "tunnelctl/"


class Problem(Failure):
    """What the daemon refused (RFC 9457); `mistakes` are those of a profile, one a line."""

    def __init__(self, document: Document) -> None:
        code = document.get("code")
        known = Code(code) if code in set(Code) else Code.INTERNAL
        message = document.get("detail") or document.get("title") or "the daemon refused"
        super().__init__(known, str(message), str(document.get("hint") or ""))
        self.mistakes = tuple(str(mistake) for mistake in document.get("mistakes", ()))


class Exchange:
    """One request that was sent; `answer` waits for what comes back."""

    def __init__(
        self, sock: socket.socket, deadline: float, on_version: Callable[[str], None]
    ) -> None:
        self._sock = sock
        self._deadline = deadline
        self._on_version = on_version

    def answer(self) -> Document:
        """The document that the daemon sent.

        Raises:
            Failure: `Problem` as the daemon reported it, or DAEMON_NOT_RUNNING when it went away
                or did not answer in time.
        """
        with self._sock:
            head, body = _read_head(self._sock, self._deadline)
            body += _read_rest(self._sock, self._deadline)
        self._on_version(head.version)
        return _document(head, body)

    def close(self) -> None:
        """Do not wait for the answer."""
        self._sock.close()


class EventStream:
    """Status events as they happen; ends when the daemon does. Close it, or use it with `with`."""

    def __init__(self, sock: socket.socket, received: bytes) -> None:
        self._sock = sock
        self._received = received

    def next(self, timeout: float | None = None) -> Document | None:
        """The next event, or None when none came within `timeout` seconds (None: wait on).

        Raises:
            Failure: DAEMON_NOT_RUNNING, the stream ended.
        """
        deadline = None if timeout is None else clock.monotonic() + timeout
        while True:
            block, found, rest = self._received.partition(b"\n\n")
            if found:
                self._received = rest
                event = _event(block)
                if event is not None:
                    return event
                continue
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            if not select.select([self._sock], [], [], left)[0]:
                return None
            try:
                chunk = self._sock.recv(_CHUNK)
            except OSError:  # reset: the daemon was killed
                chunk = b""
            if not chunk:
                raise Failure(Code.DAEMON_NOT_RUNNING, "the daemon has stopped")
            self._received += chunk

    def close(self) -> None:
        """Let go of the stream, and of what it holds up."""
        self._sock.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Client:
    """One user's way to their daemon."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.daemon_version = __version__  # of the daemon that answered last

    def status(self) -> Document:
        """The status document (SPEC section 3)."""
        return self._request("GET", "/v1/status")

    def up(
        self, name: str, file: str, environment: Mapping[str, str | None], lease: str | None
    ) -> Document:
        """Have a profile up. `environment` has the variables its file names, None for an unset one.

        With a `lease` (of `events`) a profile that was not wanted before goes down again when that
        stream ends; the answer's `leased` tells whether it is so.
        """
        body = {"file": file, "environment": dict(environment), "lease": lease}
        return self._request("POST", _profile(name, "up"), body)

    def keep(self, name: str) -> Document:
        """Let a profile stay when the stream that holds it ends."""
        return self._request("POST", _profile(name, "keep"), {})

    def restart(self, name: str) -> Document:
        """Have a profile's hosts connected anew, now."""
        return self._request("POST", _profile(name, "restart"), {})

    def reload(self, names: Sequence[str], *, dry_run: bool) -> Document:
        """Have the files of profiles (none named: all that are wanted) read again.

        The answer's `profiles` say what changes; with `dry_run` nothing does.
        """
        return self._request("POST", "/v1/reload", {"names": list(names), "dry_run": dry_run})

    def begin_down(self, name: str, drain: float) -> Exchange:
        """Take a profile down; its open connections get `drain` seconds to end."""
        body = {"timeout": drain}
        return self._begin("POST", _profile(name, "down"), body, drain + _ANSWER_WITHIN)

    def events(self, lease: str | None = None) -> EventStream:
        """Subscribe: every event after this call's return is in the stream."""
        target = "/v1/events" + (f"?lease={quote(lease, safe='')}" if lease else "")
        deadline = clock.monotonic() + _ANSWER_WITHIN
        sock = self._connect(deadline)
        try:
            _send(sock, "GET", target, b"", deadline)
            head, received = _read_head(sock, deadline)
            if head.status != 200:
                _document(head, received + _read_rest(sock, deadline))
        except BaseException:
            sock.close()
            raise
        return EventStream(sock, received)

    def ensure_daemon(self) -> Document:
        """Start the daemon when none answers. What it says of itself: `version`, `background`
        (a command started it), `attached` (how many commands hold profiles up).

        Raises:
            Failure: what kept it from starting.
        """
        try:
            return self._request("GET", "/v1/version")
        except Failure as failure:
            if failure.code is not Code.DAEMON_NOT_RUNNING:
                raise
            _start_daemon(self.paths)
            return self._request("GET", "/v1/version")

    def replace_daemon(self) -> None:
        """End the daemon that answers and start one of our version, which has up what that had.

        Raises:
            Failure: it does not end, or what kept ours from starting.
        """
        with self.events() as stream:
            self._request("POST", "/v1/shutdown", {})
            deadline = clock.monotonic() + _STOP_WITHIN
            try:
                while clock.monotonic() < deadline:
                    stream.next(_left(deadline))
            except Failure:  # the stream ends with the daemon
                pass
        _start_daemon(self.paths)
        self.ensure_daemon()

    def _request(self, method: str, target: str, body: Document | None = None) -> Document:
        return self._begin(method, target, body, _ANSWER_WITHIN).answer()

    def _begin(self, method: str, target: str, body: Document | None, seconds: float) -> Exchange:
        deadline = clock.monotonic() + seconds
        sock = self._connect(deadline)
        try:
            payload = b"" if body is None else json.dumps(body).encode()
            _send(sock, method, target, payload, deadline)
        except BaseException:
            sock.close()
            raise
        return Exchange(sock, deadline, self._note_version)

    def _note_version(self, version: str) -> None:
        self.daemon_version = version

    def _connect(self, deadline: float) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect_by(sock, deadline)
            if is_ours(sock):
                return sock
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            sock.close()
            raise Failure(
                Code.DAEMON_NOT_RUNNING,
                "the daemon is not running",
                "tunnelctl up PROFILE starts it",
            ) from None
        except OSError as error:
            sock.close()
            raise _unusable(self.paths, error.strerror or str(error)) from None
        sock.close()
        raise _unusable(self.paths, "another user listens on it")

    def _connect_by(self, sock: socket.socket, deadline: float) -> None:
        """Connect; with a time limit a unix socket whose backlog is full refuses (EAGAIN)."""
        while True:
            sock.settimeout(_left(deadline))
            try:
                return sock.connect(str(self.paths.socket))
            except BlockingIOError:
                if clock.monotonic() > deadline:
                    raise
                select.select([], [], [], _FULL_STEP)


class _Head:
    """The start of an answer."""

    def __init__(self, text: str) -> None:
        status_line, *lines = text.split("\r\n")
        words = status_line.split(" ", 2)
        self.status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        pairs = (line.partition(":") for line in lines)
        self._fields = {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def version(self) -> str:
        """The version of the daemon that answered, empty when it does not say."""
        server = self._fields.get("server", "")
        return server.removeprefix(_SERVER) if server.startswith(_SERVER) else ""

    @property
    def length(self) -> int | None:
        """How many bytes follow, where it is said."""
        length = self._fields.get("content-length", "")
        return int(length) if length.isdigit() else None


def _profile(name: str, action: str) -> str:
    return f"/v1/profiles/{quote(name, safe='')}/{action}"


def _send(sock: socket.socket, method: str, target: str, body: bytes, deadline: float) -> None:
    lines = [f"{method} {target} HTTP/1.0", "Host: localhost", "Accept: application/json"]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    try:
        sock.settimeout(_left(deadline))
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    except OSError:
        raise _went_away() from None


def _read_head(sock: socket.socket, deadline: float) -> tuple[_Head, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = _receive(sock, deadline)
        if not chunk:
            raise _went_away()
        received += chunk
    head, _, rest = received.partition(b"\r\n\r\n")
    return _Head(head.decode("latin-1")), rest


def _read_rest(sock: socket.socket, deadline: float) -> bytes:
    chunks = []
    while chunk := _receive(sock, deadline):
        chunks.append(chunk)
    return b"".join(chunks)


def _receive(sock: socket.socket, deadline: float) -> bytes:
    try:
        sock.settimeout(_left(deadline))
        return sock.recv(_CHUNK)
    except TimeoutError:
        raise Failure(
            Code.DAEMON_NOT_RUNNING, "the daemon does not answer", "its log may say why"
        ) from None
    except OSError:
        raise _went_away() from None


def _document(head: _Head, body: bytes) -> Document:
    if head.length is not None and len(body) != head.length:
        raise _went_away()
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Failure(Code.INTERNAL, f"the daemon answered {head.status} and no JSON object")
    if head.status >= 400:
        raise Problem(document)
    if document.get("api_version") != API_VERSION:
        raise Failure(
            Code.INTERNAL,
            f"the daemon is version {head.version or 'unknown'} and speaks another API than "
            f"this tunnelctl {__version__}",
            "end it with the version that started it: tunnelctl down --all",
        )
    return document


def _event(block: bytes) -> Document | None:
    """The data of one server-sent event; None for a comment."""
    data = [line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")]
    event = json.loads(b"\n".join(data)) if data else None
    return event if isinstance(event, dict) else None


def _left(deadline: float) -> float:
    """Seconds until the deadline; never zero, which would mean not to wait at all."""
    return max(deadline - clock.monotonic(), 0.001)


def _went_away() -> Failure:
    return Failure(Code.DAEMON_NOT_RUNNING, "the daemon went away before it answered")


def _unusable(paths: Paths, why: str) -> Failure:
    return Failure(
        Code.DAEMON_NOT_RUNNING, f"the control socket {paths.socket} cannot be used: {why}"
    )


def _start_daemon(paths: Paths) -> None:
    """Start a daemon of our own version and wait until one answers, be it another's.

    The daemon reports through a pipe: `ready`, or the failure that kept it from starting.
    """
    import subprocess  # only here: it costs the other commands time

    read_end, write_end = os.pipe()
    try:
        subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "tunnelctl", "daemon", "--report-to", str(write_end)],
            # It must not hold our directory; what we named relative to it stays what it is.
            cwd="/",
            env={**os.environ, SOCKET_VARIABLE: str(paths.socket)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(write_end,),
            start_new_session=True,
            check=False,
        )
        os.close(write_end)
        write_end = -1
        report = _read_report(read_end)
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)
    if report == b"ready":
        return
    try:
        raise Problem(json.loads(report))
    except ValueError:
        raise Failure(
            Code.DAEMON_NOT_RUNNING, "the daemon did not start", "tunnelctl daemon says why"
        ) from None


def _read_report(fd: int) -> bytes:
    deadline = clock.monotonic() + _START_WITHIN
    report = b""
    while select.select([fd], [], [], _left(deadline))[0]:
        chunk = os.read(fd, _CHUNK)
        if not chunk:
            break
        report += chunk
    return report.strip()
