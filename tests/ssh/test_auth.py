"""Logging in: the right key, the wrong key, and what is said about it."""

from __future__ import annotations

import base64
import dataclasses
import socket
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.ssh.clients import REFERENCE, SECRET, assert_hidden, fails, logged_in, secret
from tests.support.agent import RunningAgent
from tests.support.keys import KeyKind, write_key
from tests.support.sshd import OpenSSHServer, require_sshd, sshd_version
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys import agent as agent_module
from tunnelctl.ssh.login.auth import user_of


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, own_world: None, tmp_path: Path) -> None:
    """A home with a folder for keys, beside the files of the test."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ssh").mkdir(parents=True, mode=0o700)


def authorize(sshd: OpenSSHServer, *lines: str) -> None:
    sshd.authorized_keys.write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("kind", list(KeyKind))
def test_every_kind_of_key(sshd: OpenSSHServer, tmp_path: Path, kind: KeyKind) -> None:
    key = tmp_path / "key"
    authorize(sshd, write_key(key, kind))
    with logged_in(sshd.host(identity_file=(str(key),))) as transport:
        assert transport.is_authenticated()


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (KeyKind.RSA, serialization.PrivateFormat.TraditionalOpenSSL),
        (KeyKind.ECDSA, serialization.PrivateFormat.TraditionalOpenSSL),
        *((kind, serialization.PrivateFormat.PKCS8) for kind in KeyKind),
    ],
)
@pytest.mark.parametrize("encrypted", [False, True])
def test_the_older_forms_of_key_files(
    sshd: OpenSSHServer,
    tmp_path: Path,
    kind: KeyKind,
    form: serialization.PrivateFormat,
    encrypted: bool,
) -> None:
    key = tmp_path / "key"
    authorize(sshd, write_key(key, kind))
    private = serialization.load_ssh_private_key(key.read_bytes(), None)
    cipher: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if encrypted:
        cipher = serialization.BestAvailableEncryption(SECRET.encode())
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, cipher))
    key.with_name("key.pub").unlink()
    host = sshd.host(identity_file=(str(key),), passphrase=REFERENCE)
    with logged_in(host, secret) as transport:
        assert transport.is_authenticated()


def test_a_wrong_key_is_named_with_what_to_do(sshd: OpenSSHServer, tmp_path: Path) -> None:
    key = tmp_path / "wrong"
    write_key(key)
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True
    )
    host = sshd.host(identity_file=(str(key),))
    failure = fails(Code.AUTH_FAILED, host)
    for _ in range(19):
        fails(Code.AUTH_FAILED, host)
    assert f"{sshd.user}@127.0.0.1:{sshd.port}" in failure.message
    assert str(key) in failure.message
    assert shown.stdout.split()[1] in failure.message
    assert "publickey" in failure.message
    assert failure.hint.endswith(f"ssh-copy-id -i {key} -p {sshd.port} {sshd.user}@127.0.0.1")
    assert not failure.retryable


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
def test_the_command_for_an_address_of_ipv6_has_no_brackets(tmp_path: Path) -> None:
    key = tmp_path / "wrong"
    write_key(key)
    server = OpenSSHServer(tmp_path / "sshd", address="::1")
    server.start()
    try:
        failure = fails(Code.AUTH_FAILED, server.host(identity_file=(str(key),)))
    finally:
        server.stop()
    assert f"{server.user}@[::1]:{server.port}" in failure.message
    assert failure.hint.endswith(f" -p {server.port} {server.user}@::1")


def test_the_second_key_is_tried_when_the_first_is_refused(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    write_key(wrong)
    with logged_in(sshd.host(identity_file=(str(wrong), str(sshd.identity)))) as transport:
        assert transport.is_authenticated()


def test_a_key_that_is_missing_beside_a_good_one_is_said(
    sshd: OpenSSHServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with logged_in(sshd.host(identity_file=(str(tmp_path / "missing"), str(sshd.identity)))):
        pass
    assert f"{tmp_path / 'missing'} does not exist" in caplog.text


def test_default_keys_are_used_where_none_is_named(sshd: OpenSSHServer, tmp_path: Path) -> None:
    home = tmp_path / "home" / ".ssh"
    authorize(sshd, write_key(home / "id_ecdsa", KeyKind.ECDSA))
    write_key(home / "id_ed25519", passphrase=SECRET)  # refused before it is unlocked
    with logged_in(sshd.host(identity_file=(), identities_only=False)) as transport:
        assert transport.is_authenticated()


def test_without_any_key_that_is_said(sshd: OpenSSHServer) -> None:
    failure = fails(Code.AUTH_FAILED, sshd.host(identity_file=()))
    assert "no key to try" in failure.message
    assert "identity_file" in failure.hint


def test_a_default_key_that_others_can_read_is_passed_over(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    key = tmp_path / "home" / ".ssh" / "id_ed25519"
    authorize(sshd, write_key(key, mode=0o644))
    failure = fails(Code.AUTH_FAILED, sshd.host(identity_file=()))
    assert f"the private key {key} are too open" in failure.message


# Key files that cannot be used


def unreadable(sshd: OpenSSHServer, key: Path, **changes: object) -> Failure:
    host = dataclasses.replace(sshd.host(), identity_file=(str(key),), **changes)  # type: ignore[arg-type]  # the caller's words are a Host's
    failure = fails(Code.KEY_UNREADABLE, host, secret)
    assert str(key) in failure.message
    assert "server (127.0.0.1:" in failure.message
    assert not failure.retryable
    return failure


def test_a_named_key_that_is_missing(sshd: OpenSSHServer, tmp_path: Path) -> None:
    assert "does not exist" in unreadable(sshd, tmp_path / "missing").message


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_named_key_that_others_can_read(sshd: OpenSSHServer, tmp_path: Path, mode: int) -> None:
    key = tmp_path / "key"
    authorize(sshd, write_key(key, mode=mode))
    failure = unreadable(sshd, key)
    assert f"{mode:04o}" in failure.message
    assert failure.hint == f"chmod 600 {key}"


@pytest.mark.parametrize(
    "content",
    [b"", b"not a key", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END", b"\0" * 64],
)
def test_a_named_file_that_is_no_key(sshd: OpenSSHServer, tmp_path: Path, content: bytes) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    key.chmod(0o600)
    unreadable(sshd, key)


def test_a_directory_is_no_key(sshd: OpenSSHServer, tmp_path: Path) -> None:
    unreadable(sshd, tmp_path)


@pytest.mark.parametrize("name", ["/dev/fd/63", "/dev/stdin", "/proc/self/fd/3"])
def test_what_is_open_in_a_command_is_no_file_of_the_daemon(sshd: OpenSSHServer, name: str) -> None:
    """As `-i <(vault read key)`, which ssh finds nothing at."""
    failure = unreadable(sshd, Path(name))
    assert "ssh(1) does not use it either" in failure.message
    assert "ssh-add -" in failure.hint


def test_a_key_on_hardware_needs_an_agent(sshd: OpenSSHServer, tmp_path: Path) -> None:
    """A file as ssh-keygen -t ed25519-sk writes it, which needs a token."""
    public = text(b"sk-ssh-ed25519@openssh.com") + text(bytes(32)) + text(b"ssh:")
    private = bytes(8) + public + b"\1" + text(bytes(64)) + text(b"") + text(b"me")
    private += bytes(range(1, 1 - len(private) % -8))
    none = text(b"none") * 2 + text(b"")
    content = b"openssh-key-v1\0" + none + bytes((0, 0, 0, 1)) + text(public) + text(private)
    key = tmp_path / "id_sk"
    lines = base64.encodebytes(content).decode()
    key.write_text(
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}-----END OPENSSH PRIVATE KEY-----\n"
    )
    key.chmod(0o600)
    written = base64.b64encode(public).decode()
    sshd.authorized_keys.write_text(f"sk-ssh-ed25519@openssh.com {written}\n")
    failure = unreadable(sshd, key)
    assert "an ssh-agent only" in failure.message
    assert failure.hint == f"ssh-add {key}"


def text(data: bytes) -> bytes:
    """A string of RFC 4251 section 5."""
    return len(data).to_bytes(4, "big") + data


def test_a_short_rsa_key(sshd: OpenSSHServer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(key)], check=True
    )
    assert "1024 bits" in unreadable(sshd, key).message


def test_an_encrypted_key_opens_with_its_passphrase(sshd: OpenSSHServer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    authorize(sshd, write_key(key, passphrase=SECRET))
    host = sshd.host(identity_file=(str(key),), passphrase=REFERENCE)
    with logged_in(host, secret) as transport:
        assert transport.is_authenticated()


def test_an_encrypted_key_without_a_passphrase(sshd: OpenSSHServer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    authorize(sshd, write_key(key, passphrase=SECRET))
    failure = unreadable(sshd, key)
    assert "encrypted" in failure.message
    assert f"ssh-add {key}" in failure.hint
    assert "set passphrase in the profile" in failure.hint


def test_a_wrong_passphrase_is_said_and_never_shown(sshd: OpenSSHServer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    authorize(sshd, write_key(key, passphrase="another one"))
    failure = unreadable(sshd, key, passphrase=REFERENCE)
    assert "passphrase" in failure.message
    assert_hidden(failure)


def test_a_key_that_the_server_refuses_is_not_unlocked(sshd: OpenSSHServer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    write_key(key, passphrase=SECRET)
    # `no_secret` fails the test when the passphrase is asked for.
    fails(Code.AUTH_FAILED, sshd.host(identity_file=(str(key),), passphrase=REFERENCE))


# The agent


def test_a_key_of_the_agent(
    sshd: OpenSSHServer, agent: RunningAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.add(sshd.identity)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.path))
    with logged_in(sshd.host(identity_file=(), identities_only=False)) as transport:
        assert transport.is_authenticated()


@pytest.mark.parametrize("kind", [KeyKind.RSA, KeyKind.ECDSA])
def test_the_agent_signs_with_other_kinds(
    sshd: OpenSSHServer, agent: RunningAgent, tmp_path: Path, kind: KeyKind
) -> None:
    key = tmp_path / "key"
    authorize(sshd, write_key(key, kind))
    agent.add(key)
    host = sshd.host(identity_file=(), identities_only=False, identity_agent=str(agent.path))
    with logged_in(host) as transport:
        assert transport.is_authenticated()


def test_the_agent_spares_the_passphrase_of_a_named_key(
    sshd: OpenSSHServer, agent: RunningAgent, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    line = write_key(key)
    authorize(sshd, line)
    agent.add(key)
    key.unlink()
    # Only the public half is left, beside the name or under it (ssh_config(5), IdentityFile).
    for name in (key, key.with_name("key.pub")):
        host = sshd.host(identity_file=(str(name),), identity_agent=str(agent.path))
        with logged_in(host) as transport:
            assert transport.is_authenticated()


def test_a_public_key_without_an_agent_says_so(sshd: OpenSSHServer) -> None:
    failure = unreadable(sshd, sshd.identity.with_name("client_key.pub"))
    assert "ssh-agent" in failure.message


def test_identities_only_keeps_the_others_of_the_agent_back(
    sshd: OpenSSHServer, agent: RunningAgent, tmp_path: Path
) -> None:
    agent.add(sshd.identity)
    named = tmp_path / "named"
    write_key(named)
    host = sshd.host(identity_file=(str(named),), identity_agent=str(agent.path))
    failure = fails(Code.AUTH_FAILED, host)
    assert str(named) in failure.message
    assert "agent key" not in failure.message
    # As with IdentityFile of ssh_config(5) alone: the agent's others are tried, before the file.
    with logged_in(dataclasses.replace(host, identities_only=False)) as transport:
        assert transport.is_authenticated()


def test_identities_only_keeps_all_of_the_agent_back(
    sshd: OpenSSHServer, agent: RunningAgent
) -> None:
    agent.add(sshd.identity)
    host = sshd.host(identity_file=(), identities_only=True, identity_agent=str(agent.path))
    assert "no key to try" in fails(Code.AUTH_FAILED, host).message


def test_too_many_keys_of_the_agent_are_said_to_be_too_many(
    sshd: OpenSSHServer, agent: RunningAgent, tmp_path: Path
) -> None:
    sshd.reconfigure("MaxAuthTries 3")
    for number in range(6):
        key = tmp_path / f"key{number}"
        write_key(key)
        agent.add(key)
    host = sshd.host(identity_file=(), identities_only=False, identity_agent=str(agent.path))
    failure = fails(Code.AUTH_FAILED, host)
    if sshd_version(require_sshd()) >= (10, 6):  # it counts signatures, and lets a client ask on
        assert failure.message.count("agent key") == 6
    else:
        assert "too many" in failure.message
        assert failure.message.count("agent key") >= 3
        assert "identity_file" in failure.hint
    assert not failure.retryable


def test_an_agent_that_is_gone_leaves_the_files(sshd: OpenSSHServer, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    with logged_in(sshd.host(identity_agent=gone)) as transport:
        assert transport.is_authenticated()
    failure = fails(Code.AUTH_FAILED, sshd.host(identity_file=(), identity_agent=gone))
    assert f"no ssh-agent at {gone}" in failure.message


def test_an_agent_that_hangs_leaves_the_files(
    sshd: OpenSSHServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "PATIENCE", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        with logged_in(sshd.host(identity_agent=str(tmp_path / "silent"))) as transport:
            assert transport.is_authenticated()
        failure = fails(
            Code.AUTH_FAILED,
            sshd.host(identity_file=(), identity_agent=str(tmp_path / "silent")),
        )
    assert "did not answer" in failure.message


def test_the_user_is_that_of_the_process_unless_named() -> None:
    assert user_of(Host("h", "h", user="somebody")) == "somebody"
    shown = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
    assert user_of(Host("h", "h")) == shown.stdout.strip()
