"""Private keys in every form that ssh takes, and what is said of those that it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ssh.clients import fails, logged_in
from tests.support.certificates import Authority, ssh_keygen
from tests.support.keys import KeyKind, write_key
from tests.support.programs import require
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code, Failure
from tunnelctl.ssh.keys import forms
from tunnelctl.ssh.keys.key_files import KeyFile, read_public

PASSPHRASE = "secret12"
OPENSSH_CIPHERS = (
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "3des-cbc",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
)
PEM_CIPHERS = ("aes128", "aes192", "aes256", "des3", "camellia128", "camellia192", "camellia256")
PKCS8_CIPHERS = ("aes128", "aes192", "aes256", "des3")


pytestmark = pytest.mark.usefixtures("own_world")


def run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def openssl(*arguments: str | Path) -> None:
    assert shutil.which("openssl"), "openssl is not installed"
    run("openssl", *arguments)


def pem(path: Path) -> Path:
    """A new RSA key in PEM, with nothing beside it."""
    run("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", path)
    path.with_name(path.name + ".pub").unlink()
    return path


def signs(key: Path, passphrase: str = PASSPHRASE) -> bytes:
    """The public key, of a file that we open and sign with."""
    identity = KeyFile(key).identity(lambda _: iter((f"not {passphrase}", passphrase)))
    of_rsa = "rsa-sha2-256" if identity.key_type == "ssh-rsa" else identity.key_type
    assert identity.sign(b"data", of_rsa)
    return identity.blob


def by_ssh_keygen(key: Path, passphrase: str = PASSPHRASE) -> bytes:
    """The public key, of a file that ssh-keygen opens."""
    public = key.with_name("by-ssh-keygen.pub")
    public.write_text(ssh_keygen("-y", "-P", passphrase, "-f", str(key)))
    return read_public(public)


def refused(key: Path, passphrase: str = PASSPHRASE) -> Failure:
    with pytest.raises(Failure) as caught:
        signs(key, passphrase)
    assert caught.value.code is Code.KEY_UNREADABLE
    assert str(key) in caught.value.message
    return caught.value


# What ssh takes


@pytest.mark.parametrize(
    ("kind", "cipher"),
    [
        *((KeyKind.ED25519, cipher) for cipher in OPENSSH_CIPHERS),
        (KeyKind.RSA, "aes128-ctr"),
        (KeyKind.ECDSA, "chacha20-poly1305@openssh.com"),
    ],
)
def test_every_cipher_of_openssh(tmp_path: Path, kind: KeyKind, cipher: str) -> None:
    key = tmp_path / "key"
    write_key(key, kind)
    quickly = ("-a", "1")
    ssh_keygen("-q", "-p", *quickly, "-P", "", "-N", PASSPHRASE, "-Z", cipher, "-f", str(key))
    key.with_name("key.pub").unlink()
    assert signs(key) == by_ssh_keygen(key)
    assert "passphrase does not open" in refused(key, "another").message


@pytest.mark.parametrize("cipher", PEM_CIPHERS)
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_every_cipher_of_pem(tmp_path: Path, kind: str, cipher: str) -> None:
    plain, key = tmp_path / "plain", tmp_path / "key"
    if kind == "rsa":
        openssl("genrsa", "-traditional", "-out", plain, "2048")
    else:
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", plain)
    old = ("-traditional",) if kind == "rsa" else ()
    openssl(kind, *old, "-in", plain, f"-{cipher}", "-passout", f"pass:{PASSPHRASE}", "-out", key)
    key.chmod(0o600)
    assert b"DEK-Info" in key.read_bytes()
    assert signs(key) == by_ssh_keygen(key)
    assert "passphrase does not open" in refused(key, "another").message


@pytest.mark.parametrize("form", ["pem", "pkcs8"])
def test_a_wrong_passphrase_that_leaves_a_right_padding_is_a_wrong_one(
    tmp_path: Path, form: str
) -> None:
    plain, key = tmp_path / "plain", tmp_path / "key"
    openssl("genrsa", "-traditional", "-out", plain, "2048")
    how = {
        "pem": ("rsa", "-traditional", "-aes256"),
        "pkcs8": ("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-iter", "1"),
    }[form]
    openssl(*how, "-in", plain, "-passout", f"pass:{PASSPHRASE}", "-out", key)
    data = key.read_bytes()
    # One in 256 does: that none of so many would is less likely than 1 in 10^8.
    assert [n for n in range(5000) if forms.open_private(data, b"wrong%d" % n)] == []


@pytest.mark.parametrize("cipher", PKCS8_CIPHERS)
def test_ciphers_of_pkcs8(tmp_path: Path, cipher: str) -> None:
    key = pkcs8(tmp_path, cipher)
    assert signs(key) == by_ssh_keygen(key)
    assert "passphrase does not open" in refused(key, "another").message


def pkcs8(tmp_path: Path, cipher: str) -> Path:
    key = tmp_path / "key"
    word = ("-v2", cipher, "-passout", f"pass:{PASSPHRASE}")
    openssl("pkcs8", "-topk8", "-in", pem(tmp_path / "plain"), *word, "-out", key)
    key.chmod(0o600)
    return key


@pytest.mark.parametrize("with_parameters", [False, True])
def test_a_curve_that_is_written_out(tmp_path: Path, with_parameters: bool) -> None:
    key = tmp_path / "key"
    only = () if with_parameters else ("-noout",)
    written = ("-name", "prime256v1", "-param_enc", "explicit")
    openssl("ecparam", *written, "-genkey", *only, "-out", key)
    key.chmod(0o600)
    assert signs(key) == by_ssh_keygen(key)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda key: key + b"trailing\n", id="text behind it"),
        pytest.param(lambda key: key.replace(b"\n", b"\n\n"), id="blank lines"),
        pytest.param(lambda key: key + key, id="two keys"),
    ],
)
def test_text_around_a_key_of_openssh(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    key = tmp_path / "key"
    write_key(key)
    key.write_bytes(change(key.read_bytes()))
    assert signs(key) == by_ssh_keygen(key)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda key: b"Bag Attributes\n  name: x\n" + key, id="text before it"),
        pytest.param(lambda key: b"\xef\xbb\xbf" + key, id="a byte order mark"),
        pytest.param(lambda key: key.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda key: key.rstrip(), id="no line break at the end"),
        pytest.param(lambda key: key + b"trailing\n", id="text behind it"),
    ],
)
def test_text_around_a_key_in_pem(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    key = pem(tmp_path / "key")
    key.write_bytes(change(key.read_bytes()))
    assert signs(key) == by_ssh_keygen(key)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda key: b"\xef\xbb\xbf" + key, id="a byte order mark"),
        pytest.param(lambda key: key.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda key: key.rstrip(), id="no line break at the end"),
    ],
)
def test_what_an_editor_does_to_a_key_is_no_reason_to_refuse_it(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    """ssh refuses these (`error in libcrypto`); nobody is served by that."""
    key = tmp_path / "key"
    write_key(key)
    blob = signs(key)
    key.write_bytes(change(key.read_bytes()))
    assert signs(key) == blob


# What is beside a key


def ssh2(key: Path) -> bytes:
    return ssh_keygen("-e", "-f", str(key)).encode()


def spki(key: Path) -> bytes:
    return ssh_keygen("-e", "-m", "PKCS8", "-f", str(key)).encode()


@pytest.mark.parametrize(
    "beside",
    [
        pytest.param(ssh2, id="SSH2, as PuTTYgen writes it"),
        pytest.param(spki, id="SPKI, as openssl writes it"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: "ssh-rsa AAAA me\n".encode("utf-16"), id="UTF-16"),
        pytest.param(lambda _: b"ssh-rsa AAAAB3Nz me\n", id="cut"),
    ],
)
def test_a_public_key_of_another_form_beside_it(
    sshd: OpenSSHServer, tmp_path: Path, beside: Callable[[Path], bytes]
) -> None:
    key = pem(tmp_path / "key")
    sshd.authorized_keys.write_text(ssh_keygen("-y", "-f", str(key)))
    (tmp_path / "key.pub").write_bytes(beside(key))
    assert ssh_logs_in(sshd, key)
    with logged_in(sshd.host(identity_file=(str(key),))) as transport:
        assert transport.is_authenticated()


def test_the_public_key_of_another_key_beside_it(sshd: OpenSSHServer, tmp_path: Path) -> None:
    key = pem(tmp_path / "key")
    shutil.copy(sshd.identity.with_name("client_key.pub"), tmp_path / "key.pub")
    assert not ssh_logs_in(sshd, key)
    failure = fails(Code.KEY_UNREADABLE, sshd.host(identity_file=(str(key),)))
    assert f"{key}.pub is not the public key of the private key {key}" in failure.message
    assert failure.hint == f"ssh-keygen -y -f {key} > {key}.pub"


def ssh_logs_in(sshd: OpenSSHServer, key: Path) -> bool:
    options = ("BatchMode=yes", "IdentitiesOnly=yes", f"UserKnownHostsFile={sshd.known_hosts}")
    command = ["ssh", "-F", "none", "-p", str(sshd.port), "-i", str(key)]
    command += [word for option in options for word in ("-o", option)]
    command += [f"{sshd.user}@{sshd.address}", "true"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0


# Whose key it is


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("mode", [0o440, 0o444, 0o640])
def test_a_key_that_belongs_to_somebody_else(
    sshd: OpenSSHServer, tmp_path: Path, mode: int
) -> None:
    """Kubernetes and swarm mount keys of root for a process that is not; here it is the reverse."""
    sshd.identity.chmod(mode)
    assert not ssh_logs_in(sshd, sshd.identity)
    failure = fails(Code.KEY_UNREADABLE, sshd.host())
    assert f"chmod 600 {sshd.identity}" == failure.hint
    os.chown(sshd.identity, 4711, 4711)
    assert ssh_logs_in(sshd, sshd.identity)
    with logged_in(sshd.host()) as transport:
        assert transport.is_authenticated()


@pytest.fixture
def mounted(sshd: OpenSSHServer, tmp_path: Path) -> Path:
    """A folder as Kubernetes mounts it: each file a link through `..data` to a dated folder."""
    folder = tmp_path / "mounted"
    dated = folder / "..2024_01_01"
    dated.mkdir(parents=True)
    (folder / "..data").symlink_to(dated.name)
    for name in ("client_key", "known_hosts"):
        shutil.copy(sshd.directory / name, dated / name)
        (folder / name).symlink_to(f"..data/{name}")
    (dated / "client_key").chmod(0o400)
    return folder


def test_files_that_are_links(sshd: OpenSSHServer, mounted: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    sshd.authorized_keys.write_text(f'cert-authority,principals="{sshd.user}" {authority.line}\n')
    certificate = authority.sign(sshd.identity, principals=sshd.user, host=False)
    (mounted / "certificate").symlink_to(certificate)
    host = sshd.host(
        identity_file=(str(mounted / "client_key"),),
        certificate_file=(str(mounted / "certificate"),),
        user_known_hosts_file=(str(mounted / "known_hosts"),),
    )
    with logged_in(host) as transport:
        assert transport.is_authenticated()


# What ssh does not take, or we do not


@pytest.mark.parametrize(
    ("cipher", "name"),
    [
        ("camellia128", "Camellia"),
        ("camellia256", "Camellia"),
        ("camellia-256-ctr", "Camellia"),
        ("aria128", "ARIA"),
    ],
)
def test_a_cipher_that_we_have_not_is_named_with_the_command_that_changes_it(
    tmp_path: Path, cipher: str, name: str
) -> None:
    key = pkcs8(tmp_path, cipher)
    blob = by_ssh_keygen(key)
    failure = refused(key)
    assert f"its cipher {name} is not supported" in failure.message
    command = failure.hint.partition(": ")[2]
    assert command == f"ssh-keygen -p -f {key}"
    run(*command.split(), "-P", PASSPHRASE, "-N", PASSPHRASE)
    assert signs(key) == blob


def test_a_key_of_putty_is_named_with_the_command_that_converts_it(
    tmp_path: Path, sshd: OpenSSHServer
) -> None:
    require("puttygen")
    key = tmp_path / "key.ppk"
    run("puttygen", sshd.identity, "-O", "private", "-o", key)
    failure = refused(key)
    assert "PuTTY's format" in failure.message
    (hint,) = failure.hints
    command = hint.command
    assert command == f"puttygen {key} -O private-openssh -o {tmp_path / 'key'}"
    assert str(tmp_path / "key") in hint.text
    run(*command.split())
    assert signs(tmp_path / "key") == by_ssh_keygen(sshd.identity)
    # A key that is there already is not overwritten.
    assert refused(key).hints[0].command == f"{command}.new"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b'{"kty":"OKP","crv":"Ed25519","d":"AA"}', "a JSON Web Key"),
        (b"SSH PRIVATE KEY FILE FORMAT 1.1\n\0\0", "SSH version 1"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----".encode("utf-16"), "UTF-16"),
        (b"---- BEGIN SSH2 PUBLIC KEY ----\n", "a public key (RFC 4716)"),
        (b"-----BEGIN PUBLIC KEY-----\n", "a public key (PEM)"),
        (b"-----BEGIN CERTIFICATE-----\n", "an X.509 certificate"),
        (b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n", "ssh.com"),
        (b"what I had for lunch", "neither a private nor a public key"),
    ],
)
def test_a_file_that_is_no_key_is_called_what_it_is(
    tmp_path: Path, content: bytes, said: str
) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    key.chmod(0o600)
    assert said in refused(key).message


def test_keys_in_binary(tmp_path: Path) -> None:
    der, archive = tmp_path / "key.der", tmp_path / "key.p12"
    key = pem(tmp_path / "plain")
    openssl("pkey", "-in", key, "-outform", "DER", "-out", der)
    openssl("req", "-x509", "-key", key, "-subj", "/CN=x", "-out", tmp_path / "x509")
    export = ("pkcs12", "-export", "-passout", "pass:x", "-in", tmp_path / "x509")
    openssl(*export, "-inkey", key, "-out", archive)
    for path in (der, archive):
        path.chmod(0o600)
    assert "PKCS#12" in refused(archive).message
    failure = refused(der)
    assert "DER" in failure.message
    run(*failure.hints[0].command.split())
    assert signs(tmp_path / "key") == by_ssh_keygen(key)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("ssh-keygen -q -t dsa -N '' -f {}", "a DSA key"),
        ("ssh-keygen -q -t dsa -m PEM -N '' -f {}", "a DSA key"),
        ("ssh-keygen -q -t rsa -b 1024 -N '' -f {}", "1024 bits"),
        ("openssl genpkey -algorithm ed448 -out {}", "Ed448"),
        ("openssl ecparam -name secp256k1 -genkey -out {}", "the curve secp256k1"),
    ],
)
def test_a_type_of_key_that_is_not_used_is_named(tmp_path: Path, command: str, said: str) -> None:
    key = tmp_path / "key"
    words = ["sh", "-c", command.replace("{}", str(key))]
    done = subprocess.run(words, capture_output=True, check=False)
    if done.returncode and "dsa" in command:
        pytest.skip("this ssh-keygen makes no DSA keys any more")
    key.chmod(0o600)
    failure = refused(key)
    assert said in failure.message
    assert failure.hint.endswith("ssh-keygen -t ed25519")


def test_a_certificate_in_the_place_of_the_key(sshd: OpenSSHServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    certificate = authority.sign(sshd.identity, principals=sshd.user, host=False)
    failure = fails(Code.KEY_UNREADABLE, sshd.host(identity_file=(str(certificate),)))
    assert f"{certificate} is a certificate" in failure.message
    assert "certificate_file" in failure.hint


def test_a_public_key_in_the_place_of_the_key(tmp_path: Path) -> None:
    write_key(tmp_path / "key")
    failure = refused(tmp_path / "key.pub")
    assert "is a public key" in failure.message
