"""A running dashboard for tests, and the requests that a browser or an attacker sends to it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from tests.support.world import World
from tunnelctl.home.paths import SOCKET_VARIABLE


@dataclass(frozen=True)
class Answer:
    """An answer, with the names of its headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object."""
        document: dict[str, Any] = json.loads(self.body)
        return document


class Board:
    """The command `tunnelctl dashboard`, which runs. `cookie` is the session's, once logged in."""

    def __init__(self, world: World, process: subprocess.Popen[str], url: str) -> None:
        self.world = world
        self.process = process
        self.url = url  # as it was printed, with the token
        parts = urlsplit(url)
        assert parts.port is not None
        self.port = parts.port
        self.target = f"{parts.path}?{parts.query}"
        self.origin = f"http://127.0.0.1:{self.port}"
        self.cookie = ""

    def log_in(self) -> Answer:
        """Use the token."""
        answer = self.ask("GET", self.target)
        self.cookie = answer.headers.get("set-cookie", "").partition(";")[0]
        return answer

    def ask(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        cookie: str | None = None,
        **headers: str | None,
    ) -> Answer:
        """One request. `headers` are those of a browser, with `_` for `-`; None leaves one out."""
        sent: dict[str, str | None] = {
            "Host": f"127.0.0.1:{self.port}",
            "Cookie": self.cookie if cookie is None else cookie,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, target, skip_host=True)
            payload = b"" if body is None else json.dumps(body).encode()
            if method == "POST":
                connection.putheader("Content-Length", str(len(payload)))
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            connection.endheaders(payload or None)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    @contextmanager
    def events(self, target: str = "/v1/view") -> Iterator[Iterator[tuple[str, Any]]]:
        """A stream of server-sent events: the name and the data of each. None is missed from here
        on: the head of the answer comes once the daemon has subscribed us."""
        request = (
            f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nCookie: {self.cookie}\r\n"
            "Accept: text/event-stream\r\n\r\n"
        )
        with self.connect() as sock, sock.makefile("rb") as lines:
            sock.sendall(request.encode())
            assert lines.readline().split()[1] == b"200"
            while lines.readline().strip():
                pass
            yield _events(lines)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


def _events(lines: Any) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        if line.startswith(b"data: "):
            yield name, json.loads(line[6:])


@contextmanager
def dashboard(world: World, *options: str, socket: Path | None = None) -> Iterator[Board]:
    """A dashboard of this world's daemon, or of that on another `socket`, not logged in yet. It
    must end quietly at Ctrl-C."""
    named = {} if socket is None else {SOCKET_VARIABLE: str(socket)}
    with mock.patch.dict(world.environ, named):
        process = world.start("dashboard", "--no-browser", *options)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise AssertionError(process.communicate()[1])
        yield Board(world, process, url)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert out == "", "one line on stdout"
        assert err == "" or socket is not None, err
