"""What the page has to show: profiles that are up, broken and waiting for a person, and traffic."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.keys import write_key
from tests.support.ports import free_port
from tests.support.services import EchoService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, private_world

# Ends a script, and an attribute.
HOSTILE = '</script>"><img src=x onerror=alert(1)>'
PASSPHRASE = "correct horse battery staple"
_SHOP = """\
version: 1
hosts:
  bastion: {embedded: true}
forwards:
  database: {local: %(database)d, to: "127.0.0.1:%(echo)d", via: bastion}
  site: {local: %(site)d, to: "127.0.0.1:%(site_target)d", via: bastion, inspect: http}
  webhook: {remote: 0, to: "127.0.0.1:%(echo)d", via: bastion}
  proxy: {dynamic: 0, via: bastion}
"""
_STAGING = """\
version: 1
hosts:
  staging: {hostname: 127.0.0.1, port: %d, user: deploy, ssh_config: false}
forwards:
  wiki: {local: 0, to: "wiki.internal:80", via: staging}
"""


@dataclass(frozen=True)
class Scene:
    """A world with `shop`, which is up and has an open connection; `staging`, whose server refuses;
    and `vault`, whose host `safe` needs a passphrase."""

    world: World
    database: int  # the port of shop/database
    site: int  # the port of shop/site, whose requests are inspected

    @contextmanager
    def client(self) -> Iterator[None]:
        """A client of shop/database that is connected."""
        with connect(self.database) as sock:
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
            yield

    def get(self, path: str, **headers: str) -> bytes:
        """The answer of the site through the tunnel, to one request."""
        lines = [f"GET {path} HTTP/1.1", "Host: shop.example", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        with connect(self.site) as sock:
            sock.sendall("\r\n".join([*lines, "", ""]).encode())
            return b"".join(iter(lambda: sock.recv(65536), b""))


class _Site(BaseHTTPRequestHandler):
    """Answers every request with the marks that would be harmful as HTML."""

    def do_GET(self) -> None:
        body = f"{HOSTILE} is {self.path}".encode()
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("X-Mark", HOSTILE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def _site() -> Iterator[int]:
    """A web server; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def scene() -> Iterator[Scene]:
    """The scene for the length of a block."""
    with ExitStack() as stack:
        world = stack.enter_context(private_world())
        echo = stack.enter_context(EchoService())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tctl-")))
        server = OpenSSHServer(folder)
        key = write_key(server.identity, passphrase=PASSPHRASE)
        server.authorized_keys.write_text(f"{key}\n")
        server.start()
        stack.callback(server.stop)
        site_target = stack.enter_context(_site())
        database, site = free_port(), free_port()
        ports = {"database": database, "echo": echo.port, "site": site, "site_target": site_target}
        world.profile("shop", _SHOP % ports)
        world.profile("staging", _STAGING % free_port())
        vault = server.host_yaml()
        world.profile(
            "vault",
            f"version: 1\nhosts:\n  safe: {vault}\nforwards:\n"
            '  keys: {local: 0, to: "127.0.0.1:9", via: safe}\n',
        )
        world.ok("up", "shop", "-d")
        assert world.run("up", "staging", "-d", "--wait-timeout", "0s").returncode == 75
        assert world.run("up", "vault", "-d").returncode == 77
        found = Scene(world, database, site)
        eventually(lambda: world.host("vault", "safe")["state"] == "needs-input", "it asks")
        yield found
