"""Throw-away SSH keys in OpenSSH's own file format."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


class KeyKind(StrEnum):
    """The kinds a server or client may have."""

    ED25519 = "ed25519"
    ECDSA = "ecdsa"
    RSA = "rsa"


def _generate(
    kind: KeyKind,
) -> ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if kind is KeyKind.ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if kind is KeyKind.ECDSA:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def write_key(
    path: Path, kind: KeyKind = KeyKind.ED25519, passphrase: str | None = None, mode: int = 0o600
) -> str:
    """Write a new private key to `path` and its public half beside it.

    Returns:
        The public key as known_hosts and authorized_keys have it: `TYPE BASE64`.
    """
    key = _generate(kind)
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption
        )
    )
    path.chmod(mode)
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    path.with_name(path.name + ".pub").write_bytes(public + b"\n")
    return public.decode()
