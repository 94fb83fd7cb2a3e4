"""Algorithms: what is offered, in whose order, and what a server without any of it hears."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ssh.clients import fails, logged_in, no_secret
from tests.support.here import here
from tests.support.keys import KeyKind
from tests.support.servers import running
from tests.support.servers.tinyssh import TinysshServer
from tests.support.sshd import OpenSSHServer
from tunnelctl.config.values.algorithms import Kind, resolve_list
from tunnelctl.errors import Code
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.algorithms import CIPHERS, HOST_KEY_ALGORITHMS, KEX_ALGORITHMS, MACS
from tunnelctl.ssh.connect import connect
from tunnelctl.ssh.link.info import LinkInfo


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def known_to_sshd(query: str) -> set[str]:
    """What this machine's OpenSSH can do (ssh -Q)."""
    program = shutil.which("ssh")
    assert program, "openssh-client is not installed"
    shown = subprocess.run([program, "-Q", query], capture_output=True, text=True, check=True)
    return set(shown.stdout.split())


@pytest.mark.parametrize("name", KEX_ALGORITHMS)
def test_every_key_exchange(sshd: OpenSSHServer, name: str) -> None:
    if name not in known_to_sshd("kex"):
        pytest.skip(f"this sshd does not know {name}")
    sshd.reconfigure(f"KexAlgorithms {name}")
    with logged_in(sshd.host()) as transport:
        assert transport.kex_name == name
    with logged_in(sshd.host(kex_algorithms=(name,))) as transport:
        assert transport.kex_name == name


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("mac", MACS)
def test_every_cipher_with_every_mac(sshd: OpenSSHServer, cipher: str, mac: str) -> None:
    with logged_in(sshd.host(ciphers=(cipher,), macs=(mac,))) as transport:
        assert transport.local_cipher == cipher
        assert transport.mac_name == (mac if cipher.endswith("-ctr") else None)


def test_the_order_of_the_profile_is_kept(sshd: OpenSSHServer) -> None:
    host = sshd.host(
        kex_algorithms=("ecdh-sha2-nistp384", "curve25519-sha256"),
        ciphers=("aes192-ctr", "aes128-gcm@openssh.com"),
        macs=("hmac-sha2-512", "hmac-sha2-256-etm@openssh.com"),
    )
    with logged_in(host) as transport:
        assert transport.kex_name == "ecdh-sha2-nistp384"
        assert transport.local_cipher == "aes192-ctr"
        assert transport.mac_name == "hmac-sha2-512"


@pytest.mark.parametrize("name", ["rsa-sha2-256", "rsa-sha2-512", "ssh-ed25519"])
def test_the_host_key_algorithms_of_the_profile(tmp_path: Path, name: str) -> None:
    server = OpenSSHServer(tmp_path / "sshd", host_keys=tuple(KeyKind))
    server.start()
    try:
        with logged_in(server.host(host_key_algorithms=(name,))) as transport:
            assert transport.host_key_type == name
    finally:
        server.stop()


def test_a_known_key_goes_before_the_order_of_the_profile(tmp_path: Path) -> None:
    server = OpenSSHServer(tmp_path / "sshd", host_keys=tuple(KeyKind))
    server.known_hosts.write_text(f"{server.pattern} {server.host_keys[0]}\n")
    server.start()
    try:
        host = server.host(host_key_algorithms=("rsa-sha2-512", "ssh-ed25519"))
        with logged_in(host) as transport:
            assert transport.host_key_type == "ssh-ed25519"
        failure = fails(Code.HOST_KEY_CHANGED, server.host(host_key_algorithms=("rsa-sha2-512",)))
        assert "ssh-rsa" in failure.message
    finally:
        server.stop()


def test_both_lists_are_named_of_every_kind_with_nothing_in_common(sshd: OpenSSHServer) -> None:
    sshd.reconfigure(
        "KexAlgorithms sntrup761x25519-sha512@openssh.com",
        "Ciphers aes128-cbc,aes256-cbc",
        "MACs hmac-sha1,umac-64@openssh.com",
    )
    failure = fails(Code.INCOMPATIBLE_PEER, sshd.host(macs=("hmac-sha2-512",)))
    for sentence in (
        f"no common key exchange method: we offer {', '.join(KEX_ALGORITHMS)}; "
        "the server offers sntrup761x25519-sha512@openssh.com;",
        f"no common cipher: we offer {', '.join(CIPHERS)}; "
        "the server offers aes128-cbc, aes256-cbc;",
        "no common MAC: we offer hmac-sha2-512; the server offers hmac-sha1, umac-64@openssh.com",
    ):
        assert failure.message.count(sentence.rstrip(";")) == 1
    assert failure.hint == "; ".join(
        f"add {line} to the server's sshd_config "
        "(tunnelctl supports nothing that it offers, see docs/algorithms.md)"
        for line in (
            "KexAlgorithms +curve25519-sha256",
            "Ciphers +aes128-gcm@openssh.com",
            "MACs +hmac-sha2-512",
        )
    )
    assert not failure.retryable


@pytest.mark.parametrize(
    ("key", "ours", "line", "remedy"),
    [
        (
            "kex_algorithms",
            ("ecdh-sha2-nistp256",),
            "KexAlgorithms diffie-hellman-group14-sha256",
            "add kex_algorithms: +diffie-hellman-group14-sha256 to hosts.server in the profile, "
            "or add KexAlgorithms +ecdh-sha2-nistp256 to the server's sshd_config",
        ),
        (
            "ciphers",
            ("aes256-ctr", "aes128-gcm@openssh.com"),
            "Ciphers 3des-cbc,chacha20-poly1305@openssh.com",
            "add ciphers: +chacha20-poly1305@openssh.com to hosts.server in the profile, "
            "or add Ciphers +aes128-gcm@openssh.com to the server's sshd_config",
        ),
        (
            "macs",
            ("hmac-sha2-512",),
            "Ciphers aes256-ctr\nMACs umac-128@openssh.com,hmac-sha2-256",
            "add macs: +hmac-sha2-256 to hosts.server in the profile, "
            "or add MACs +hmac-sha2-512 to the server's sshd_config",
        ),
        (
            "host_key_algorithms",
            ("rsa-sha2-512",),
            "HostKeyAlgorithms ssh-ed25519",
            "add host_key_algorithms: +ssh-ed25519 to hosts.server in the profile, "
            "or give the server a host key for rsa-sha2-512 (ssh-keygen -A)",
        ),
    ],
)
def test_what_the_profile_leaves_out_is_not_offered_and_told(
    sshd: OpenSSHServer, key: str, ours: tuple[str, ...], line: str, remedy: str
) -> None:
    """And what the hint says to put into the profile helps."""
    sshd.reconfigure(line)
    failure = fails(Code.INCOMPATIBLE_PEER, sshd.host(**{key: ours}))
    assert failure.hint == remedy
    name = remedy.partition("+")[2].partition(" ")[0]
    with logged_in(sshd.host(**{key: resolve_list(Kind[key.upper()], f"+{name}")})) as transport:
        assert transport.is_authenticated()


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("ciphers", "aes128-gcm@openssh.com"),
        ("kex_algorithms", "diffie-hellman-group16-sha512"),
        ("host_key_algorithms", "rsa-sha2-256"),
    ],
)
def test_a_server_that_leaves_without_a_word_is_told_by_its_lists(
    tmp_path: Path, key: str, ours: str
) -> None:
    """TinySSH ends as soon as it finds nothing in common."""
    with running(TinysshServer, tmp_path) as server:
        for _ in range(10):
            failure = fails(Code.INCOMPATIBLE_PEER, server.host(**{key: (ours,)}))
            assert f"we offer {ours}; the server offers " in failure.message


@pytest.mark.parametrize("cipher", [name for name in CIPHERS if not name.endswith("-ctr")])
def test_a_cipher_that_authenticates_needs_no_mac_in_common(
    sshd: OpenSSHServer, cipher: str
) -> None:
    sshd.reconfigure(f"Ciphers {cipher}", "MACs umac-64@openssh.com,hmac-sha1")
    with logged_in(sshd.host()) as transport:
        assert (transport.local_cipher, transport.mac_name) == (cipher, None)
    ssh = shutil.which("ssh")
    assert ssh, "openssh-client is not installed"
    told = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-vv"]
    told += ["-o", "MACs=hmac-sha2-256", "-o", f"UserKnownHostsFile={sshd.directory / 'new'}"]
    where = ["-p", str(sshd.port), "-i", str(sshd.identity), f"{sshd.user}@127.0.0.1", "true"]
    theirs = subprocess.run([ssh, *told, *where], capture_output=True, text=True, check=False)
    assert f"cipher: {cipher} MAC: <implicit>" in theirs.stderr
    assert theirs.returncode == 0


def test_nothing_weak_is_on_any_list() -> None:
    for name in (*CIPHERS, *KEX_ALGORITHMS, *MACS, *HOST_KEY_ALGORITHMS):
        assert not re.search("cbc|3des|arcfour|md5|sha1$|ssh-rsa|ssh-dss|group1-|umac|-96", name)


async def test_a_link_says_what_was_agreed_on(sshd: OpenSSHServer) -> None:
    reactor = Reactor(asyncio.get_running_loop())
    infos: list[LinkInfo] = []
    for ciphers in (("aes256-gcm@openssh.com",), ("aes256-ctr",)):
        link = await connect(
            sshd.host(ciphers=ciphers),
            reactor,
            environment=here(),
            resolve_secret=no_secret,
            on_stage=lambda stage: None,
        )
        infos.append(link.info)
        link.close()
        await link.wait_thread()
    reactor.close()
    gcm, ctr = infos
    assert (gcm.cipher, gcm.mac) == ("aes256-gcm@openssh.com", None)
    assert (ctr.cipher, ctr.mac) == ("aes256-ctr", MACS[0])
    assert gcm.host_key == "ssh-ed25519"
    assert gcm.kex in KEX_ALGORITHMS


def test_strict_key_exchange_is_agreed_on_where_ssh_does(sshd: OpenSSHServer) -> None:
    ssh = shutil.which("ssh")
    assert ssh, "openssh-client is not installed"
    where = ["-F", "none", "-p", str(sshd.port), "-o", "BatchMode=yes", "127.0.0.1"]
    theirs = subprocess.run([ssh, "-vvv", *where], capture_output=True, text=True, check=False)
    with logged_in(sshd.host()) as transport:
        assert transport.agreed_on_strict_kex == ("will use strict KEX" in theirs.stderr)
