"""Signatures as SSH sends them: made with a private key, or checked with a public key.

Owns the encodings of RFC 4253 section 6.6, RFC 5656 (ecdsa), RFC 8332 (rsa) and RFC 8709 (ed25519),
and of OpenSSH's security keys (PROTOCOL.u2f), which are checked here and never made. Must never
make or accept a signature with SHA-1.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Container

import paramiko
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from tunnelctl.wire.messages import ProtocolError, Reader, string

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_RSA_HASHES = {"rsa-sha2-256": hashes.SHA256, "rsa-sha2-512": hashes.SHA512}
# A security key signs for an application; its own key is one of the plain types.
_SECURITY_KEYS = {
    "sk-ssh-ed25519@openssh.com": "ssh-ed25519",
    "sk-ecdsa-sha2-nistp256@openssh.com": "ecdsa-sha2-nistp256",
}
_USER_PRESENT = 1


def sign(private: PrivateKey, data: bytes, algorithm: str) -> bytes:
    """A signature over `data`; `algorithm` chooses the hash for an RSA key."""
    if isinstance(private, ed25519.Ed25519PrivateKey):
        raw = private.sign(data)
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        pair = utils.decode_dss_signature(private.sign(data, ec.ECDSA(_ec_hash(private.curve))))
        numbers = paramiko.Message()
        for number in pair:
            numbers.add_mpint(number)
        raw = numbers.asbytes()
    else:
        raw = private.sign(data, padding.PKCS1v15(), _RSA_HASHES[algorithm]())
    return string(algorithm) + string(raw)


def verify(blob: bytes, signature: bytes, data: bytes, algorithms: Container[str]) -> bool:
    """Whether `signature` over `data` was made by the plain public key `blob`, with one of these
    signature algorithms. False also for a malformed signature."""
    try:
        reader = Reader(signature)
        algorithm = reader.text()
        raw, rest = reader.string(), reader.rest()
        if algorithm not in algorithms or algorithm not in algorithms_of(Reader(blob).text()):
            return False
        if algorithm in _SECURITY_KEYS:
            blob, application = _plain(blob)
            signed_for = hashlib.sha256(application).digest()
            if len(rest) != 5 or not rest[0] & _USER_PRESENT:
                return False
            data = signed_for + rest + hashlib.sha256(data).digest()
        elif rest:
            return False
        _check(blob, algorithm, raw, data)
    except (ProtocolError, InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def algorithms_of(key_type: str) -> tuple[str, ...]:
    """The signature algorithms of a type of key, best first (RFC 8332 for RSA)."""
    return ("rsa-sha2-512", "rsa-sha2-256") if key_type == "ssh-rsa" else (key_type,)


def _check(blob: bytes, algorithm: str, raw: bytes, data: bytes) -> None:
    """Raises InvalidSignature unless `raw` is right."""
    key_type = Reader(blob).string()
    public = serialization.load_ssh_public_key(key_type + b" " + base64.b64encode(blob))
    if isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(raw, data)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        reader = Reader(raw)
        r, s = (int.from_bytes(reader.string(), "big", signed=True) for _ in "rs")
        public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(_ec_hash(public.curve)))
    elif isinstance(public, rsa.RSAPublicKey):
        # Some implementations drop leading zeros.
        whole = raw.rjust((public.key_size + 7) // 8, b"\0")
        public.verify(whole, data, padding.PKCS1v15(), _RSA_HASHES[algorithm]())
    else:
        raise InvalidSignature


def _plain(blob: bytes) -> tuple[bytes, bytes]:
    """The key inside a security key, and the application that it signs for."""
    reader = Reader(blob)
    inner = _SECURITY_KEYS[reader.text()]
    fields = [reader.string() for _ in range(1 if inner == "ssh-ed25519" else 2)]
    return b"".join(map(string, (inner.encode(), *fields))), reader.string()


def _ec_hash(curve: ec.EllipticCurve) -> hashes.HashAlgorithm:
    """RFC 5656 section 6.2.1."""
    if curve.key_size <= 256:
        return hashes.SHA256()
    return hashes.SHA384() if curve.key_size <= 384 else hashes.SHA512()
