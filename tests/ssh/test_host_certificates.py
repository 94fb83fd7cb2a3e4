"""Certificates of hosts: what they vouch for, and what they do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh.clients import fails, logged_in
from tests.support.certificates import Authority, blob_of, ssh_keygen
from tests.support.here import here
from tests.support.keys import KeyKind, write_key
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys.certificates import (
    Certificate,
    certified,
    fingerprint,
    is_certified,
    plain,
    plain_key,
)
from tunnelctl.ssh.server_key.verify import known_for, verify
from tunnelctl.wire.messages import ProtocolError


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


class CertifiedServer(OpenSSHServer):
    """An sshd that shows a certificate for its one host key."""

    def __init__(self, directory: Path, authority: Authority, kind: KeyKind, *options: str) -> None:
        super().__init__(directory, host_keys=(kind,))
        certificate = authority.sign(directory / f"host_{kind}", *options)
        self._extra = (f"HostCertificate {certificate}",)

    def knows(self, *lines: str) -> Host:
        """A host whose known_hosts has these lines and no other."""
        self.known_hosts.write_text("".join(f"{line}\n" for line in lines))
        return self.host()


@pytest.fixture
def server(no_leaks: None, tmp_path: Path, authority: Authority) -> Iterator[CertifiedServer]:
    server = CertifiedServer(tmp_path / "sshd", authority, KeyKind.ED25519)
    server.start()
    yield server
    server.stop()


# With a real server


@pytest.mark.parametrize("kind", list(KeyKind))
@pytest.mark.parametrize("signer", list(KeyKind))
def test_a_certificate_is_enough(tmp_path: Path, kind: KeyKind, signer: KeyKind) -> None:
    authority = Authority(tmp_path / "ca", signer)
    options = ("-t", "rsa-sha2-512") if signer is KeyKind.RSA else ()
    server = CertifiedServer(tmp_path / "sshd", authority, kind, *options)
    server.start()
    try:
        host = server.knows(f"@cert-authority * {authority.line}")
        with logged_in(host) as transport:
            assert transport.is_authenticated()
            assert is_certified(transport.host_key_type or "")
    finally:
        server.stop()


def test_without_an_authority_no_certificate_is_asked_for(server: CertifiedServer) -> None:
    with logged_in(server.knows(f"{server.pattern} {server.host_keys[0]}")) as transport:
        assert transport.host_key_type == "ssh-ed25519"


def test_where_only_certificates_are_allowed_the_key_in_one_counts(server: CertifiedServer) -> None:
    host = server.knows(f"{server.pattern} {server.host_keys[0]}")
    only = ("ssh-ed25519-cert-v01@openssh.com",)
    with logged_in(dataclasses.replace(host, host_key_algorithms=only)) as transport:
        assert transport.host_key_type == only[0]


def test_a_server_without_certificate_is_known_by_its_key(
    sshd: OpenSSHServer, authority: Authority
) -> None:
    with sshd.known_hosts.open("a") as file:
        file.write(f"@cert-authority * {authority.line}\n")
    with logged_in(sshd.host()) as transport:
        assert transport.host_key_type == "ssh-ed25519"


def test_a_stranger_with_a_certificate_of_another_authority(
    server: CertifiedServer, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    host = server.knows(f"@cert-authority * {other.line}")
    failure = fails(Code.HOST_KEY_UNKNOWN, host)
    assert "not a known authority" in failure.message
    assert fingerprint(blob_of(tmp_path / "ca.pub")) in failure.message
    assert "authenticating user" not in server.log


@pytest.mark.parametrize("known", ["authority", "key"])
def test_a_revoked_one_is_refused_whatever_vouches_for_it(
    server: CertifiedServer, authority: Authority, known: str
) -> None:
    revoked = authority.line if known == "authority" else server.host_keys[0]
    host = server.knows(
        f"@cert-authority * {authority.line}",
        f"{server.pattern} {server.host_keys[0]}",
        f"@revoked * {revoked}",
    )
    failure = fails(Code.HOST_KEY_CHANGED, host)
    assert f"{server.known_hosts}:3" in failure.message


def test_a_certificate_that_does_not_count_leaves_the_key(
    tmp_path: Path, authority: Authority
) -> None:
    server = CertifiedServer(
        tmp_path / "sshd", authority, KeyKind.ED25519, "-V", "20200101:20200201"
    )
    server.start()
    try:
        ca = f"@cert-authority * {authority.line}"
        failure = fails(Code.HOST_KEY_UNKNOWN, server.knows(ca))
        assert "expired at 2020-0" in failure.message
        with logged_in(server.knows(ca, f"{server.pattern} {server.host_keys[0]}")) as transport:
            assert transport.is_authenticated()
        changed = fails(
            Code.HOST_KEY_CHANGED, server.knows(ca, f"{server.pattern} {ca.split(' ', 2)[2]}")
        )
        assert "expired" in changed.message
    finally:
        server.stop()


def test_a_pin_is_for_the_key_and_asks_for_no_certificate(
    server: CertifiedServer, authority: Authority
) -> None:
    host = server.knows(f"@cert-authority * {authority.line}")
    key = fingerprint(blob_of(server.directory / "host_ed25519.pub"))
    with logged_in(dataclasses.replace(host, host_key=(key,))) as transport:
        assert transport.host_key_type == "ssh-ed25519"
    other = fingerprint(blob_of(authority.public))
    fails(Code.HOST_KEY_CHANGED, dataclasses.replace(host, host_key=(other,)))


# The rules, one by one


@dataclasses.dataclass
class Known:
    """A host whose known_hosts has the authority."""

    directory: Path
    authority: Authority

    @property
    def host(self) -> Host:
        file = self.directory / "known_hosts"
        file.write_text(f"@cert-authority *.example {self.authority.line}\n")
        return Host("db", "DB.example", user_known_hosts_file=(str(file),))

    def certificate(
        self, *options: str, principals: str = "db.example", host: bool = True
    ) -> bytes:
        key = self.directory / "key"
        write_key(key)
        return blob_of(self.authority.sign(key, *options, principals=principals, host=host))

    def refused(self, blob: bytes, **changes: str) -> Failure:
        with pytest.raises(Failure) as caught:
            verify(dataclasses.replace(self.host, **changes), blob, here())  # type: ignore[arg-type]  # words of a Host
        assert caught.value.code is Code.HOST_KEY_UNKNOWN
        return caught.value


@pytest.fixture
def known(tmp_path: Path, authority: Authority) -> Known:
    return Known(tmp_path, authority)


@pytest.mark.parametrize("principals", ["db.example", "other,db.example", "*.example", "d?.*"])
def test_the_names_that_a_certificate_is_for(known: Known, principals: str) -> None:
    verify(known.host, known.certificate(principals=principals), here())


@pytest.mark.parametrize(
    "principals", ["other.example", "DB.example", "b.example", "!*", "example"]
)
def test_the_names_that_it_is_not_for(known: Known, principals: str) -> None:
    assert (
        f"it is for {principals}" in known.refused(known.certificate(principals=principals)).message
    )


def test_one_without_names_is_for_nobody(known: Known) -> None:
    assert "names no host" in known.refused(known.certificate(principals="")).message


def test_an_alias_is_the_name(known: Known) -> None:
    blob = known.certificate(principals="alias.example")
    verify(dataclasses.replace(known.host, host_key_alias="alias.example"), blob, here())
    known.refused(blob)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-V", "-2w:-1w"), "expired at"),
        (("-V", "+1w:+2w"), "valid from"),
        (("-O", "critical:unheard-of=x"), "critical options that are unknown: unheard-of"),
    ],
)
def test_what_a_certificate_may_not_be(known: Known, options: tuple[str, ...], said: str) -> None:
    assert said in known.refused(known.certificate(*options)).message


def test_extensions_may_be_unknown(known: Known) -> None:
    verify(
        known.host,
        known.certificate("-O", "extension:unheard-of=x", "-V", "always:forever"),
        here(),
    )


def test_a_certificate_of_a_user_is_none_of_a_host(known: Known) -> None:
    assert "no host certificate" in known.refused(known.certificate(host=False)).message


def test_a_signature_with_sha1_is_none(tmp_path: Path) -> None:
    known = Known(tmp_path, Authority(tmp_path / "rsa", KeyKind.RSA))
    verify(known.host, known.certificate("-t", "rsa-sha2-256"), here())
    assert "not safe" in known.refused(known.certificate("-t", "ssh-rsa")).message


def test_a_short_key_of_an_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "rsa", KeyKind.RSA)
    authority.path.unlink()
    ssh_keygen("-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(authority.path))
    authority.line = " ".join(authority.public.read_text().split()[:2])
    known = Known(tmp_path, authority)
    assert "1024 bits" in known.refused(known.certificate()).message


def test_no_byte_of_it_may_be_changed(known: Known) -> None:
    blob = known.certificate()
    verify(known.host, blob, here())
    for offset in range(len(blob)):
        changed = bytearray(blob)
        changed[offset] ^= 0x01
        with pytest.raises((Failure, ProtocolError)):
            verify(known.host, bytes(changed), here())


def test_what_is_cut_off_or_too_long_is_no_certificate(known: Known) -> None:
    blob = known.certificate()
    for length in range(len(blob)):
        with pytest.raises(ProtocolError):
            Certificate.parse(blob[:length])
    with pytest.raises(ProtocolError):
        Certificate.parse(blob + b"\0")


def test_a_fingerprint_is_that_of_the_key_in_it(known: Known) -> None:
    blob = known.certificate()
    shown = ssh_keygen("-lf", str(known.directory / "key-cert.pub"))
    assert fingerprint(blob) in shown
    assert plain_key(blob) == blob_of(known.directory / "key.pub")


def test_an_authority_of_other_hosts_says_nothing(known: Known) -> None:
    elsewhere = dataclasses.replace(known.host, hostname="db.elsewhere")
    assert known_for(known.host, here()).has_authority
    assert not known_for(elsewhere, here()).has_authority


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"),
        ("rsa-sha2-512", "rsa-sha2-512-cert-v01@openssh.com"),
        ("sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519-cert-v01@openssh.com"),
    ],
)
def test_names_of_algorithms(name: str, of: str) -> None:
    assert certified(name) == of
    assert plain(of) == name
    assert is_certified(of)
    assert not is_certified(name)
    assert plain(name) == name
