"""Signatures: made, and checked against all that is none. Of what we make sshd is the judge."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from pathlib import Path
from typing import Self

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from tests.ssh.clients import logged_in
from tests.support.certificates import blob_of
from tests.support.keys import KeyKind, write_key
from tests.support.sshd import OpenSSHServer
from tunnelctl.ssh.keys.signatures import PrivateKey, algorithms_of, sign, verify
from tunnelctl.wire.messages import Reader, string, u32

DATA = b"what is signed"
ALL = frozenset(
    {
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-256",
        "rsa-sha2-512",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)


def blob(private: PrivateKey) -> bytes:
    line = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return base64.b64decode(line.split()[1])


KEYS: dict[str, PrivateKey] = {
    "ssh-ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ecdsa-sha2-nistp256": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-sha2-nistp384": ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-sha2-nistp521": ec.generate_private_key(ec.SECP521R1()),
    "ssh-rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
PAIRS = [(kind, algorithm) for kind in KEYS for algorithm in algorithms_of(kind)]


@pytest.mark.parametrize(("kind", "algorithm"), PAIRS)
def test_what_is_signed_is_verified_and_nothing_else(kind: str, algorithm: str) -> None:
    private = KEYS[kind]
    public, signature = blob(private), sign(private, DATA, algorithm)
    assert verify(public, signature, DATA, ALL)
    assert not verify(public, signature, DATA + b"!", ALL)
    assert not verify(public, signature, DATA, ALL - {algorithm})
    for other in KEYS.values():
        assert verify(blob(other), signature, DATA, ALL) == (other is private)


@pytest.mark.parametrize("kind", list(KEYS))
def test_no_bit_of_a_signature_may_be_changed(kind: str) -> None:
    signature = sign(KEYS[kind], DATA, algorithms_of(kind)[0])
    for offset in range(len(signature)):
        changed = bytearray(signature)
        changed[offset] ^= 0x01
        assert not verify(blob(KEYS[kind]), bytes(changed), DATA, ALL), offset
    for length in range(len(signature)):
        assert not verify(blob(KEYS[kind]), signature[:length], DATA, ALL)
    assert not verify(blob(KEYS[kind]), signature + b"\0", DATA, ALL)


def test_rubbish_is_no_key(tmp_path: Path) -> None:
    write_key(tmp_path / "key", KeyKind.ECDSA)
    public = blob_of(tmp_path / "key.pub")
    signature = sign(KEYS["ssh-ed25519"], DATA, "ssh-ed25519")
    for broken in (
        b"",
        b"\0\0\0\x0bssh-ed25519",
        public[:-3],
        string("ssh-ed25519") + string(b"1"),
    ):
        assert not verify(broken, signature, DATA, ALL)


def test_sha1_is_none_even_where_it_is_asked_for() -> None:
    private = KEYS["ssh-rsa"]
    assert isinstance(private, rsa.RSAPrivateKey)
    raw = private.sign(DATA, padding.PKCS1v15(), hashes.SHA1())
    for name in ("ssh-rsa", "rsa-sha2-256"):
        signature = string(name) + string(raw)
        assert not verify(blob(private), signature, DATA, {*ALL, "ssh-rsa"})


def test_an_rsa_signature_without_its_leading_zeros() -> None:
    private = KEYS["ssh-rsa"]
    assert isinstance(private, rsa.RSAPrivateKey)
    for number in range(20_000):
        data = str(number).encode()
        raw = private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        if raw[0] == 0:
            signature = string("rsa-sha2-256") + string(raw.lstrip(b"\0"))
            assert verify(blob(private), signature, data, ALL)
            return
    raise AssertionError("no signature began with zero")


SECURITY_KEYS = ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"]


class SecurityKey:
    """A security key without its hardware (OpenSSH PROTOCOL.u2f)."""

    def __init__(self, kind: str, application: bytes = b"ssh:") -> None:
        inner = "ssh-ed25519" if "ed25519" in kind else "ecdsa-sha2-nistp256"
        self.kind, self.inner, self.private = kind, inner, KEYS[inner]
        fields = blob(self.private)[len(string(inner)) :]
        self.blob = string(kind) + fields + string(application)
        self._application = application

    def sign(self, data: bytes, flags: int = 1) -> bytes:
        tail = bytes((flags,)) + (7).to_bytes(4, "big")
        application = hashlib.sha256(self._application).digest()
        signed = application + tail + hashlib.sha256(data).digest()
        raw = sign(self.private, signed, self.inner)[len(string(self.inner)) :]
        return string(self.kind) + raw + tail


@pytest.mark.parametrize("kind", SECURITY_KEYS)
def test_a_security_key_signs_for_its_application_when_it_is_touched(kind: str) -> None:
    key = SecurityKey(kind)
    signature = key.sign(DATA)
    assert verify(key.blob, signature, DATA, ALL)
    assert not verify(key.blob, key.sign(DATA, flags=0), DATA, ALL)
    assert not verify(SecurityKey(kind, b"other:").blob, signature, DATA, ALL)
    assert not verify(key.blob, signature[:-1] + b"\x08", DATA, ALL)
    assert not verify(key.blob, signature[:-5], DATA, ALL)
    plain = sign(key.private, DATA, key.inner)
    assert not verify(key.blob, plain, DATA, ALL)


def test_a_number_of_an_ecdsa_signature_may_be_too_big() -> None:
    private = KEYS["ecdsa-sha2-nistp256"]
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    r, s = utils.decode_dss_signature(private.sign(DATA, ec.ECDSA(hashes.SHA256())))
    for number in (r, -r, 0, 1 << 4096):
        raw = b"".join(
            string(n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True)) for n in (number, s)
        )
        signature = string("ecdsa-sha2-nistp256") + string(raw)
        assert verify(blob(private), signature, DATA, ALL) == (number == r)


class FakeAgent:
    """An ssh-agent with one security key, which a person takes `seconds` to touch."""

    def __init__(self, path: Path, key: SecurityKey, seconds: float) -> None:
        self.path = path
        self._key = key
        self._seconds = seconds
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while head := connection.recv(4, socket.MSG_WAITALL):
                    request = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
                    connection.sendall(string(self._answer(request)))

    def _answer(self, request: bytes) -> bytes:
        if request[0] == 11:
            return b"\x0c" + u32(1) + string(self._key.blob) + string("a touch")
        if request[0] != 13:
            return b"\x05"  # as an agent that knows no extension
        reader = Reader(request, 1)
        assert reader.string() == self._key.blob
        threading.Event().wait(self._seconds)
        return b"\x0e" + string(self._key.sign(reader.string()))


@pytest.mark.parametrize("kind", SECURITY_KEYS)
def test_a_security_key_in_an_agent_may_take_its_time(
    sshd: OpenSSHServer, tmp_path: Path, kind: str
) -> None:
    key = SecurityKey(kind)
    sshd.authorized_keys.write_text(f"{kind} {base64.b64encode(key.blob).decode()}\n")
    with FakeAgent(tmp_path / "agent", key, seconds=1.5) as agent:
        host = sshd.host(identity_file=(), identities_only=False, identity_agent=str(agent.path))
        with logged_in(host, seconds=1.0) as transport:
            assert transport.is_authenticated()
