"""Certificates of users: which are offered, with whose signature, and in which order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh.clients import REFERENCE, SECRET, fails, logged_in, secret
from tests.support.agent import RunningAgent
from tests.support.certificates import Authority
from tests.support.keys import KeyKind, write_key
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code
from tunnelctl.spec.host import Host

pytestmark = pytest.mark.usefixtures("own_world")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def server(no_leaks: None, tmp_path: Path, authority: Authority) -> Iterator[OpenSSHServer]:
    """It lets in whoever has a certificate, and no plain key."""
    server = OpenSSHServer(tmp_path / "sshd", config=(f"TrustedUserCAKeys {authority.public}",))
    server.authorized_keys.write_text("")
    server.start()
    yield server
    server.stop()


def certified(
    server: OpenSSHServer,
    authority: Authority,
    key: Path,
    *options: str,
    kind: KeyKind = KeyKind.ED25519,
    passphrase: str | None = None,
) -> Path:
    """A new key at `key` with its certificate, whose path is returned."""
    write_key(key, kind, passphrase)
    return authority.sign(key, *options, principals=server.user, host=False)


def gets_in(host: Host) -> bool:
    with logged_in(host, secret) as transport:
        return transport.is_authenticated()


@pytest.mark.parametrize("kind", list(KeyKind))
def test_the_certificate_beside_a_key(
    server: OpenSSHServer, authority: Authority, tmp_path: Path, kind: KeyKind
) -> None:
    certified(server, authority, tmp_path / "key", kind=kind)
    assert gets_in(server.host(identity_file=(str(tmp_path / "key"),)))
    assert "Accepted certificate ID" in server.log


def test_a_certificate_that_is_named_lies_anywhere_and_comes_first(
    server: OpenSSHServer, authority: Authority, tmp_path: Path
) -> None:
    apart = certified(server, authority, tmp_path / "key").rename(tmp_path / "apart")
    host = server.host(identity_file=(str(tmp_path / "key"),), certificate_file=(str(apart),))
    server.reconfigure(f"TrustedUserCAKeys {authority.public}", "MaxAuthTries 1")
    assert gets_in(host)


def test_a_named_certificate_keeps_the_one_beside_the_key_back(
    server: OpenSSHServer, authority: Authority, tmp_path: Path
) -> None:
    certified(server, authority, tmp_path / "key")
    other = certified(server, authority, tmp_path / "other")
    host = server.host(identity_file=(str(tmp_path / "key"),), certificate_file=(str(other),))
    failure = fails(Code.AUTH_FAILED, host)
    assert f"no private key for the certificate {other}" in failure.message
    assert "key-cert.pub" not in failure.message


def test_the_key_of_a_certificate_may_be_encrypted(
    server: OpenSSHServer, authority: Authority, tmp_path: Path
) -> None:
    certified(server, authority, tmp_path / "key", passphrase=SECRET)
    assert gets_in(server.host(identity_file=(str(tmp_path / "key"),), passphrase=REFERENCE))


@pytest.mark.parametrize("kind", list(KeyKind))
def test_the_agent_signs_for_a_certificate(
    server: OpenSSHServer, authority: Authority, agent: RunningAgent, tmp_path: Path, kind: KeyKind
) -> None:
    certificate = certified(server, authority, tmp_path / "key", kind=kind)
    apart = certificate.rename(tmp_path / "apart")
    agent.add(tmp_path / "key")
    (tmp_path / "key").unlink()
    host = server.host(
        identity_file=("none",), certificate_file=(str(apart),), identity_agent=str(agent.path)
    )
    assert gets_in(host)


def test_a_certificate_that_the_agent_holds(
    server: OpenSSHServer, authority: Authority, agent: RunningAgent, tmp_path: Path
) -> None:
    certified(server, authority, tmp_path / "key")
    agent.add(tmp_path / "key")  # ssh-add takes the certificate along
    host = server.host(identity_file=(), identities_only=False, identity_agent=str(agent.path))
    assert gets_in(host)
    assert not (tmp_path / ".ssh").exists()  # nothing else could have been offered


def test_an_expired_certificate_is_refused_and_named(
    server: OpenSSHServer, authority: Authority, tmp_path: Path
) -> None:
    certified(server, authority, tmp_path / "key", "-V", "20200101:20200201")
    failure = fails(Code.AUTH_FAILED, server.host(identity_file=(str(tmp_path / "key"),)))
    assert f"{tmp_path / 'key-cert.pub'}: it expired at 2020-0" in failure.message


def test_a_certificate_of_a_host_is_not_offered(
    server: OpenSSHServer, authority: Authority, tmp_path: Path
) -> None:
    write_key(tmp_path / "key")
    certificate = authority.sign(tmp_path / "key")
    failure = fails(Code.AUTH_FAILED, server.host(identity_file=(str(tmp_path / "key"),)))
    assert f"{certificate} is a host certificate" in failure.message
    assert "tried" in failure.message


@pytest.mark.parametrize("content", ["", "ssh-ed25519-cert-v01@openssh.com AAAA", "rubbish"])
def test_a_broken_certificate_leaves_the_key(
    sshd: OpenSSHServer, tmp_path: Path, content: str
) -> None:
    sshd.identity.with_name("client_key-cert.pub").write_text(content)
    assert gets_in(sshd.host())
    named = tmp_path / "named"
    named.write_text(content)
    assert gets_in(sshd.host(certificate_file=(str(named),)))


def test_a_named_certificate_that_is_a_plain_key(sshd: OpenSSHServer) -> None:
    public = str(sshd.identity.with_name("client_key.pub"))
    wrong = sshd.host(certificate_file=(public,), user="nobody-of-that-name")
    assert f"{public} is not a certificate" in fails(Code.AUTH_FAILED, wrong).message
    assert gets_in(dataclasses.replace(wrong, user=sshd.user))
