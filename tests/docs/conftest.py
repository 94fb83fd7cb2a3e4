"""The profiles of the documentation in a private world, on ports that nobody else has.

What the pages name is played by something of the test's own: `bastion` by OpenSSH's sshd, every
service behind it by one that says hello, over TCP and on a unix socket.
"""

from __future__ import annotations

import re
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from tests.docs.pages import ROOT
from tests.support.ports import free_port
from tests.support.sshd import OpenSSHServer
from tests.support.world import World

# The ports that configs/dev.yaml listens on. Who reads it has them free; a test machine may not.
_FIXED_PORT = re.compile(r"\b6289\d\b")
# The ports that the pages of docs/ listen on.
_LISTENERS = ("1080", "2222", "5432", "8080", "9000")
_SERVICES = ("db.internal:5432", "wiki.internal:80")
_LOCAL_SERVICE = "3000"


@dataclass
class Examples:
    """A world with the profiles of configs/, and texts as they read there."""

    world: World
    ports: dict[str, str]
    names: dict[str, str] = field(default_factory=dict)

    def moved(self, text: str) -> str:
        """The text with fixed ports and names replaced by those of the test."""
        text = _FIXED_PORT.sub(lambda found: self.ports.get(found[0], found[0]), text)
        if not self.names:
            return text
        longest_first = sorted(map(re.escape, self.names), key=len, reverse=True)
        named = re.compile(rf"(?<![\w.])({'|'.join(longest_first)})(?!\w)")
        return named.sub(lambda found: self.names[found[0]], text)


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Say hello, whatever is asked."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"Hello, World!\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is for what fails."""

    def address_string(self) -> str:
        """The peer of a unix socket has no address."""
        return "-"


class _Server(socketserver.BaseServer):
    """Each client in a thread; one that left without asking, as a probe does, is no error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _TcpServer(_Server, socketserver.ThreadingTCPServer):
    pass


class _UnixServer(_Server, socketserver.ThreadingUnixStreamServer):
    pass


@pytest.fixture
def examples_world(world: World) -> Examples:
    """The profiles of configs/ where the command finds them, on free ports."""
    texts = {path.stem: path.read_text() for path in (ROOT / "configs").glob("*.yaml")}
    fixed = {port for text in texts.values() for port in _FIXED_PORT.findall(text)}
    moved = Examples(world, {port: str(free_port()) for port in fixed})
    for name, text in texts.items():
        world.profile(name, moved.moved(text))
    return moved


@pytest.fixture
def with_bastion(examples_world: Examples, sshd: OpenSSHServer) -> Iterator[Examples]:
    """The same, with `bastion` in ~/.ssh/config and what stands behind it."""
    world = examples_world.world
    world.alias("bastion", sshd)
    (world.home / ".ssh" / "known_hosts").write_text(sshd.known_hosts.read_text())
    engine = world.home / "engine.sock"
    with ExitStack() as stack:
        tcp = stack.enter_context(_TcpServer(("127.0.0.1", 0), _Hello))
        unix = stack.enter_context(_UnixServer(str(engine), _Hello))
        for server in (tcp, unix):
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        hello = str(tcp.server_address[1])
        examples_world.names = {
            **{port: str(free_port()) for port in _LISTENERS},
            **dict.fromkeys(_SERVICES, f"127.0.0.1:{hello}"),
            _LOCAL_SERVICE: hello,
            "to: 22": f"to: {sshd.port}",
            "/var/run/docker.sock": str(engine),
        }
        yield examples_world
