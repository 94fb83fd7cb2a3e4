"""Host keys and logins as a user meets them: `trust` by an alias, certificates, status."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, tunnel_text
from tunnelctl.spec.algorithms import KEX_ALGORITHMS


@pytest.mark.parametrize("way", ["", "  ProxyJump gate\n"])
def test_trust_takes_a_name_of_ssh_config(world: World, sshd: OpenSSHServer, way: str) -> None:
    host = sshd.host()
    known = world.home / "known"
    config = world.home / ".ssh" / "config"
    config.parent.mkdir(mode=0o700)
    config.write_text(
        f"Host gate\n  UserKnownHostsFile {sshd.known_hosts}\n"
        f"Host work\n{way}  UserKnownHostsFile {known}\n  HostKeyAlias the-work\n"
        f"Host *\n  HostName {host.hostname}\n  Port {host.port}\n  User {host.user}\n"
        f"  IdentityFile {host.identity_file[0]}\n  IdentitiesOnly yes\n"
    )
    config.chmod(0o600)
    shown = world.run("trust", "work")
    assert shown.returncode == 77, shown.stderr
    fingerprint = shown.stdout.split()[2]
    assert not known.exists()
    world.ok("trust", "work", "--fingerprint", fingerprint)
    assert known.read_text().split()[0] == "the-work"
    assert "is already known" in world.run("trust", "work").stderr


def test_trust_never_records_by_itself(world: World, sshd: OpenSSHServer) -> None:
    known = world.home / "known"
    host = sshd.host_yaml(user_known_hosts_file=str(known), strict_host_key_checking="accept-new")
    world.profile("dev", f"hosts: {{server: {host}}}\n")
    assert world.run("trust", "dev/server").returncode == 77
    assert not known.exists()


def test_a_host_that_an_authority_vouches_for(world: World, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server = OpenSSHServer(tmp_path / "sshd")
    certificate = authority.sign(server.directory / "host_ed25519")
    server.known_hosts.write_text(f"@cert-authority * {authority.line}\n")
    server.reconfigure(f"HostCertificate {certificate}")
    try:
        world.tunnel(server, db=f"local: {free_port()}, to: {free_port()}")
        world.ok("up", "dev", "-d")
        agreed = world.host("dev")
        assert agreed["host_key"] == "ssh-ed25519-cert-v01@openssh.com"
        assert agreed["kex"] in KEX_ALGORITHMS
        assert agreed["cipher"] == "aes128-gcm@openssh.com"
        assert agreed["mac"] is None
        assert agreed["strict_kex"] in (True, False)
        world.ok("down", "dev")
        assert "is already known" in world.run("trust", "dev/server").stderr
    finally:
        server.stop()


def test_a_home_that_can_only_be_read_keeps_nobody_out(
    world: World, sshd: OpenSSHServer, tmp_path: Path
) -> None:
    """As with ssh: it warns, and connects."""
    (tmp_path / "file").touch()
    known = tmp_path / "file" / "known_hosts"
    config = tmp_path / "ssh_config"
    config.write_text(
        f"UserKnownHostsFile {known}\nStrictHostKeyChecking accept-new\nBatchMode yes\n"
        f"IdentityFile {sshd.identity}\nPort {sshd.port}\nUser {sshd.user}\n"
    )
    ssh = subprocess.run(
        ["ssh", "-F", str(config), sshd.address, "true"],
        env=world.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ssh.returncode, "Failed to add the host" in ssh.stderr) == (0, True)
    text = sshd.host_yaml(user_known_hosts_file=str(known), strict_host_key_checking="accept-new")
    world.profile("dev", tunnel_text(text, db=f"local: {free_port()}, to: {free_port()}"))
    said = f"dev/server connecting: server (127.0.0.1:{sshd.port}): cannot record its host key"
    done = world.run("up", "dev", "-d")
    assert (done.returncode, done.stderr.count(said)) == (0, 1), done.stderr
    assert "make the file writable" in done.stderr
    world.ok("restart", "dev")
    eventually(lambda: world.host("dev")["reconnects"] == 1, "it is up again")
    # Once for each key, and not at each login.
    assert world.ok("logs", "dev").count(said) == 1


def test_a_key_that_cannot_be_used_is_told_once_where_another_one_does(
    world: World, sshd: OpenSSHServer
) -> None:
    (world.home / "id_broken").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nno key\n")
    (world.home / "id_broken").chmod(0o600)
    keys = f"[{world.home}/id_broken, {sshd.identity}]"
    text = sshd.host_yaml(identity_file=keys, reconnect="{min: 100ms, max: 500ms}")
    world.profile("dev", tunnel_text(text, db=f"local: {free_port()}, to: {free_port()}"))
    done = world.run("up", "dev", "-d")
    assert (done.returncode, done.stderr.count("logged in without it")) == (0, 1), done.stderr
    for pid in sshd.sessions:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: world.host("dev")["reconnects"] == 1, "it is up again")
    told = [line for line in world.ok("logs", "dev").splitlines() if "logged in without it" in line]
    assert len(told) == 1
    assert "id_broken" in told[0]
