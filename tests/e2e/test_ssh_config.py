"""`via: NAME` reaches what `ssh NAME` reaches: an alias of the user's ssh_config, and its hop."""

from __future__ import annotations

import shutil

import pytest

from tests.support.clients import ask
from tests.support.ports import free_port
from tests.support.services import ReplyAfterEndService
from tests.support.sshd import OpenSSHServer
from tests.support.world import World


@pytest.mark.parametrize("path", ["", "/nonexistent"], ids=["client", "own reader"])
@pytest.mark.parametrize("way", ["", "ProxyJump gate", "ProxyCommand socat - TCP:%h:%p"])
def test_an_alias_of_ssh_config(world: World, sshd: OpenSSHServer, path: str, way: str) -> None:
    if way.startswith("ProxyCommand") and shutil.which("socat") is None:
        pytest.skip("socat is not installed")
    host = sshd.host()
    config = world.home / ".ssh" / "config"
    config.parent.mkdir(mode=0o700)
    config.write_text(
        f"Host work\n  {way}\n"
        f"Host work gate\n  HostName {host.hostname}\n  Port {host.port}\n"
        f"  User {host.user}\n  IdentityFile {host.identity_file[0]}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {sshd.known_hosts}\n"
    )
    config.chmod(0o600)
    port = free_port()
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        world.profile(
            "dev",
            f'forwards: {{f: {{local: {port}, to: "127.0.0.1:{service.port}", via: work}}}}\n',
        )
        environ = {"PATH": path} if path else {}
        done = world.run("up", "dev", "-d", environ=environ)
        assert done.returncode == 0, done.stderr
        assert ask(port, b"it") == b"seen it"
        world.ok("down", "dev")
