"""`via: NAME` reaches what `ssh NAME` reaches: an alias of the user's ssh_config, and its hop."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.support.certificates import Authority, blob_of
from tests.support.clients import ask
from tests.support.ports import free_port
from tests.support.services import ReplyAfterEndService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.ssh.keys.certificates import Certificate


@pytest.mark.parametrize("has_ssh", [True, False], ids=["client", "own reader"])
@pytest.mark.parametrize("way", ["", "ProxyJump gate", "ProxyCommand socat - TCP:%h:%p"])
def test_an_alias_of_ssh_config(
    world: World, sshd: OpenSSHServer, tmp_path: Path, has_ssh: bool, way: str
) -> None:
    socat = shutil.which("socat")
    if way.startswith("ProxyCommand") and socat is None:
        pytest.skip("socat is not installed")
    without_ssh = tmp_path / "bin"
    without_ssh.mkdir()
    if socat is not None:
        (without_ssh / "socat").symlink_to(socat)
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
        environ = {} if has_ssh else {"PATH": str(without_ssh)}
        done = world.run("up", "dev", "-d", environ=environ)
        assert done.returncode == 0, done.stderr
        assert ask(port, b"it") == b"seen it"
        world.ok("down", "dev")


def test_a_certificate_that_match_exec_makes_is_made_for_each_login(
    world: World, sshd: OpenSSHServer, tmp_path: Path
) -> None:
    """As Vault's, step's and Teleport's: each lives for some seconds, the link for longer."""
    authority = Authority(tmp_path / "ca")
    sshd.authorized_keys.write_text(f"cert-authority {authority.line}\n")
    certificate = tmp_path / "prod-cert.pub"
    made = tmp_path / "made"
    script = tmp_path / "make"
    sign = f"ssh-keygen -q -s {authority.path} -I a -n {sshd.user} -V -1m:+6s {tmp_path}/prod.pub"
    script.write_text(
        f"#!/bin/sh\ncp {sshd.identity}.pub {tmp_path}/prod.pub && {sign} && date >> {made}\n"
    )
    script.chmod(0o700)
    world.alias("prod", sshd)
    config = world.home / ".ssh" / "config"
    more = f'Match originalhost prod exec "{script}"\n  CertificateFile {certificate}\n'
    config.write_text(more + config.read_text())
    world.profile("dev", "hosts: {prod: {}}\nforwards: {db: {local: 0, to: 9, via: prod}}\n")
    world.ok("up", "dev", "-d")
    first = made.read_text()
    ends = Certificate.parse(blob_of(certificate)).valid_before
    eventually(lambda: time.time() > ends, "the certificate has expired")
    sshd.kill_sessions()
    eventually(lambda: world.host("dev", "prod")["reconnects"] == 1, "it is up again")
    assert made.read_text().startswith(first)
    assert made.read_text() != first
