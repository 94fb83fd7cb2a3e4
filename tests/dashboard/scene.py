"""What the page has to show: profiles that are up, broken and waiting for a person, and traffic."""

from __future__ import annotations

import select
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer, StreamRequestHandler, ThreadingMixIn, UnixStreamServer

from tests.support.keys import write_key
from tests.support.ports import free_port
from tests.support.services import EchoService, SpeakFirstService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, private_world
from tunnelctl import __version__
from tunnelctl.home.paths import Paths

# Ends a script, and an attribute; the same as the name of a file.
MARK = '"><img src=x onerror=alert(1)>'
HOSTILE = f"</script>{MARK}"
PASSPHRASE = "correct horse battery staple"
_SHOP = """\
version: 1
hosts:
  bastion: {embedded: true}
forwards:
  database: {local: %(database)d, to: "127.0.0.1:%(echo)d", via: bastion}
  site: {local: %(site)d, to: "127.0.0.1:%(site_target)d", via: bastion, inspect: http}
  webhook: {remote: 0, to: "127.0.0.1:%(echo)d", via: bastion}
  proxy: {dynamic: %(proxy)d, via: bastion}
"""
_STAGING = """\
version: 1
hosts:
  staging: {hostname: 127.0.0.1, port: %d, user: deploy, ssh_config: false}
forwards:
  wiki: {local: 0, to: "wiki.internal:80", via: staging}
"""
_RUDE = """\
version: 1
hosts:
  rude: {hostname: 127.0.0.1, port: %(server)d, user: deploy, ssh_config: false}
  here: {embedded: true}
forwards:
  names: {local: './%(mark)s', to: "127.0.0.1:%(echo)d", via: here}
  talk: {local: 0, to: "127.0.0.1:%(echo)d", via: rude}
"""


@dataclass(frozen=True)
class Scene:
    """A world with `shop`, which is up; `staging`, whose server refuses; `vault`, whose host `safe`
    needs a passphrase; and `rude`, whose texts are `HOSTILE`. `ssh plain` reaches a server."""

    world: World
    database: int  # the port of shop/database
    site: int  # the port of shop/site, whose requests are inspected
    proxy: int  # the port of shop/proxy

    @contextmanager
    def client(self) -> Iterator[socket.socket]:
        """A client of shop/database that is connected."""
        with connect(self.database) as sock:
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
            yield sock

    def get(self, path: str, **headers: str) -> bytes:
        """The answer of the site through the tunnel, to one request."""
        lines = [f"GET {path} HTTP/1.1", "Host: shop.example", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        with connect(self.site) as sock:
            sock.sendall("\r\n".join([*lines, "", ""]).encode())
            return b"".join(iter(lambda: sock.recv(65536), b""))


class _Site(BaseHTTPRequestHandler):
    """Answers requests with the marks that would be harmful as HTML, or for `binary` with no
    text."""

    def do_GET(self) -> None:
        body = b"\xff\0" if "binary" in self.path else f"{HOSTILE} is {self.path}".encode()
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("X-Mark", HOSTILE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class _SiteServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a probe of the daemon resets its connection."""


@contextmanager
def _site() -> Iterator[int]:
    """A web server; its port."""
    server = _SiteServer(("127.0.0.1", 0), _Site)
    server.daemon_threads = False
    with _serving(server):
        yield server.server_port


@contextmanager
def _serving(server: BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
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
        rude = stack.enter_context(SpeakFirstService(f"{HOSTILE}\r\n".encode()))
        database, site, proxy = free_port(), free_port(), free_port()
        ports = {"database": database, "echo": echo.port, "site": site, "site_target": site_target}
        ports["proxy"] = proxy
        world.profile("shop", _SHOP % ports)
        world.profile("staging", _STAGING % free_port())
        world.profile("rude", _RUDE % {"server": rude.port, "echo": echo.port, "mark": MARK})
        vault = server.host_yaml()
        world.profile(
            "vault",
            f"version: 1\nhosts:\n  safe: {vault}\nforwards:\n"
            '  keys: {local: 0, to: "127.0.0.1:9", via: safe}\n',
        )
        world.ok("up", "shop", "-d")
        assert world.run("up", "staging", "-d", "--wait-timeout", "0s").returncode == 75
        assert world.run("up", "rude", "-d", "--wait-timeout", "0s").returncode == 75
        plain = OpenSSHServer(folder / "plain")
        plain.start()
        stack.callback(plain.stop)
        world.alias("plain", plain)
        assert world.run("up", "vault", "-d").returncode == 77
        found = Scene(world, database, site, proxy)
        eventually(lambda: world.host("vault", "safe")["state"] == "needs-input", "it asks")
        yield found


@contextmanager
def another_version(world: World, version: str) -> Iterator[Path]:
    """A control socket behind which the daemon of the world says that it has this version."""
    control = Paths.from_environ(world.environ, world.home).socket
    path = world.home / "other.sock"
    ours, theirs = (f"Server: tunnelctl/{word}".encode() for word in (__version__, version))

    class Passing(StreamRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as daemon:
                daemon.connect(str(control))
                daemon.sendall(self.request.recv(65536))
                # The dashboard says no more, until it leaves.
                while self.request not in select.select([daemon, self.request], [], [])[0]:
                    if not (chunk := daemon.recv(65536)):
                        return
                    self.request.sendall(chunk.replace(ours, theirs))

    class Server(ThreadingMixIn, UnixStreamServer):
        daemon_threads = False

    server = Server(str(path), Passing)
    with _serving(server):
        yield path
