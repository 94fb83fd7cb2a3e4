"""What the page has to show: profiles that are up, broken and waiting for a person, and traffic."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.keys import write_key
from tests.support.ports import free_port
from tests.support.services import EchoService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, private_world

PASSPHRASE = "correct horse battery staple"
_SHOP = """\
version: 1
hosts:
  bastion: {embedded: true}
forwards:
  database: {local: %(database)d, to: "127.0.0.1:%(echo)d", via: bastion}
  search: {local: 0, to: "127.0.0.1:%(echo)d", via: bastion}
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

    @contextmanager
    def client(self) -> Iterator[None]:
        """A client of shop/database that is connected."""
        with connect(self.database) as sock:
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
            yield


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
        database = free_port()
        world.profile("shop", _SHOP % {"database": database, "echo": echo.port})
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
        found = Scene(world, database)
        eventually(lambda: world.host("vault", "safe")["state"] == "needs-input", "it asks")
        yield found
