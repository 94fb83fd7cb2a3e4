"""Keys that another program loaded with paramiko, in the form that our own login takes.

Owns their conversion: a private key to the text of a key file, a certificate that was loaded with
it to the text of a certificate file, a public key to its fingerprint. Must never write a key to a
disk.
"""

from __future__ import annotations

import base64
import io

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tunnelctl.ssh.keys.certificates import fingerprint


def private_key_text(key: paramiko.PKey) -> bytes | None:
    """The unencrypted text of a key file; None if `key` has no private part that can be read.

    That is so for the keys of an agent, which never gives them away, and for public keys.
    """
    if isinstance(key, paramiko.AgentKey) or not key.can_sign():
        return None
    if isinstance(key, paramiko.Ed25519Key):
        # paramiko cannot write this type; the seed is the whole key (RFC 8032 section 5.1.5).
        seed = bytes(key._signing_key)  # type: ignore[attr-defined]  # has no public name
        return Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    text = io.StringIO()
    key.write_private_key(text)
    return text.getvalue().encode()


def certificate_text(key: paramiko.PKey) -> bytes | None:
    """The text of a certificate file; None if none was loaded (`PKey.load_certificate`)."""
    loaded = getattr(key, "public_blob", None)
    if loaded is None:
        return None
    return f"{loaded.key_type} {base64.b64encode(loaded.key_blob).decode()}\n".encode()


def pin_of(key: paramiko.PKey) -> str:
    """`SHA256:…`, as `host_key` of a profile takes it."""
    return fingerprint(key.asbytes())


def is_agent_key(key: object) -> bool:
    """Whether an agent holds the private part."""
    return isinstance(key, paramiko.AgentKey)
