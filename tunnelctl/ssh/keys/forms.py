"""The formats of private keys: OpenSSH's own, PEM (PKCS#1, SEC 1) and PKCS#8.

Owns where the public part is, what decrypts each format, and what a file is that holds no such key.
Accepts what ssh accepts (OpenSSH sshkey.c, sshkey_parse_private_fileblob). Must never read a file.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
    load_ssh_private_key,
)

from tunnelctl.errors import Hint
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.ssh.keys import sentences
from tunnelctl.ssh.keys.ciphers import (
    WrongPassphrase,
    decrypted_openssh,
    decrypted_pem,
    openssh_cipher,
    pem_cipher,
)
from tunnelctl.ssh.keys.signatures import PrivateKey
from tunnelctl.wire.messages import ProtocolError, Reader, string, u32

_BEGIN = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_END = b"-----END OPENSSH PRIVATE KEY-----"
_PRIVATE = b" PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"  # OpenSSH PROTOCOL.key
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ENCRYPTED_PEM = re.compile(
    rb"-----BEGIN [A-Z]+ PRIVATE KEY-----\s+Proc-Type: 4,ENCRYPTED\s+"
    rb"DEK-Info: ([A-Z0-9-]+),([0-9A-Fa-f]+)\s+([A-Za-z0-9+/=\s]+)-----END"
)
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_DSA = "ssh-dss"
# Of the object identifiers in PKCS#8 (RFC 3657, RFC 5794); Camellia has further ones for CTR and
# CFB.
_NAMES = {
    "1.2.392.200011.61": "Camellia",
    "0.3.4401.5.3.1.9": "Camellia",
    "1.2.410.200046": "ARIA",
}
# Makes the hint about a file, from its path and a path that is free.
Remedy = Callable[[Path, Path], Hint]


class Unusable(ValueError):
    """A file without a usable key. The text says why; `hint` makes the hint about it."""

    def __init__(self, why: str, hint: Remedy = sentences.check_key) -> None:
        super().__init__(why)
        self.hint = hint


def is_private(data: bytes) -> bool:
    """Whether a file claims to hold a private key in one of the formats."""
    return _PRIVATE in data


def public_blob(data: bytes) -> bytes | None:
    """The public part, if the format has it in the clear, even for an encrypted key.

    Raises:
        Unusable: it is broken.
    """
    return _Container.parse(data).public if _BEGIN in data else None


def open_private(data: bytes, passphrase: bytes | None) -> PrivateKey | None:
    """The private key; None if it needs a passphrase, or another one.

    Raises:
        Unusable: no passphrase would help.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK)
    try:
        if _BEGIN in data:
            return _usable(_of_openssh(_Container.parse(data), passphrase))
        encrypted = _ENCRYPTED_PEM.search(data)
        if encrypted is not None and passphrase is not None:
            return _usable(_of_encrypted_pem(data, encrypted, passphrase))
        return _usable(_loaded(load_pem_private_key, data, passphrase))
    except WrongPassphrase:
        return None
    except (binascii.Error, ProtocolError):
        raise Unusable("it is broken") from None


def stranger(data: bytes) -> Unusable:
    """The reason why a file cannot be used that holds neither a private nor a public key."""
    text = data.removeprefix(_BYTE_ORDER_MARK).lstrip()
    for pattern, what, hint in _STRANGERS:
        if re.match(pattern, text, re.DOTALL):
            return Unusable(what, hint)
    return Unusable("it is neither a private nor a public key")


# The beginning of a file, its format, and the hint on how to convert it to a key.
_STRANGERS = (
    (rb"\Z", "it is empty", sentences.create_key),
    (rb"PuTTY-User-Key-File-", "it is in PuTTY's format", sentences.convert_with_puttygen),
    (
        rb"---- BEGIN SSH2 ENCRYPTED PRIVATE",
        "it is in ssh.com's format",
        sentences.convert_with_puttygen,
    ),
    (rb"---- BEGIN SSH2 PUBLIC KEY", "it is a public key (RFC 4716)", sentences.use_private_key),
    (rb"-----BEGIN [A-Z ]*PUBLIC KEY", "it is a public key (PEM)", sentences.use_private_key),
    (rb"-----BEGIN CERTIFICATE", "it is an X.509 certificate", sentences.use_private_key),
    (
        rb"SSH PRIVATE KEY FILE FORMAT 1\.",
        "it is for SSH version 1",
        sentences.create_key,
    ),
    (rb"\{.*\"kty\"", "it is a JSON Web Key", sentences.export_as_pem),
    (
        rb"\xff\xfe|\xfe\xff",
        "it is UTF-16 text",
        sentences.convert_to_utf_8,
    ),
    (
        rb"\x30.{1,40}\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01",  # 1.2.840.113549.1.7.1 (RFC 7292)
        "it is a PKCS#12 archive",
        sentences.extract_from_pkcs12,
    ),
    (
        rb"\x30[\x2c-\x84]",
        "it is in DER format, not text",
        sentences.convert_from_der,
    ),
)


@dataclass(frozen=True, slots=True)
class _Container:
    """A key in OpenSSH's own format (PROTOCOL.key section 1)."""

    cipher: str
    kdf: str
    kdf_options: bytes
    public: bytes
    sealed: bytes
    tag: bytes

    @classmethod
    def parse(cls, data: bytes) -> _Container:
        """Raises Unusable if it is broken."""
        body, end, _ = data.partition(_BEGIN)[2].partition(_END)
        try:
            raw = base64.b64decode(body)
            reader = Reader(raw.removeprefix(_MAGIC))
            cipher, kdf, options = reader.text(), reader.text(), reader.string()
            if end and raw.startswith(_MAGIC) and reader.u32() == 1:
                return cls(cipher, kdf, options, reader.string(), reader.string(), reader.rest())
        except (binascii.Error, ProtocolError):
            pass
        raise Unusable("it is broken")

    def unencrypted(self, private: bytes) -> bytes:
        """The text of the same key without a cipher, which the library reads."""
        fields = (b"none", b"none", b"")
        raw = (
            _MAGIC + b"".join(map(string, fields)) + u32(1) + string(self.public) + string(private)
        )
        return b"\n".join((_BEGIN, base64.encodebytes(raw).rstrip(), _END, b""))


def _of_openssh(key: _Container, passphrase: bytes | None) -> object:
    kind = Reader(key.public).text()
    if kind.startswith("sk-"):
        raise Unusable("it can be used through an ssh-agent only", sentences.add_to_agent)
    if kind == _DSA:
        raise _dsa()
    private = key.sealed
    if key.cipher != "none":
        cipher = openssh_cipher(key.cipher, key.kdf)
        if cipher is None:
            raise Unusable(
                f"its cipher {key.cipher} ({key.kdf}) is not supported", sentences.change_cipher
            )
        if passphrase is None:
            return None
        sealed = key.sealed + key.tag
        private = decrypted_openssh(cipher, key.kdf_options, sealed, passphrase)
    return _loaded(load_ssh_private_key, key.unencrypted(private), None)


def _of_encrypted_pem(data: bytes, found: re.Match[bytes], passphrase: bytes) -> object:
    name = found[1].decode()
    cipher = pem_cipher(name)
    if cipher is None:
        return _loaded(load_pem_private_key, data, passphrase, name)
    iv, sealed = bytes.fromhex(found[2].decode()), base64.b64decode(found[3])
    der = decrypted_pem(cipher, iv, sealed, passphrase)
    try:
        return load_der_private_key(der, None)
    except ValueError:
        raise WrongPassphrase from None


# The library's messages for decrypted text that is no key.
_GARBAGE = "Could not deserialize"


def _loaded(
    load: Callable[[bytes, bytes | None], object],
    data: bytes,
    passphrase: bytes | None,
    cipher: str = "",
) -> object:
    """A format that the library reads; `cipher` is the name in the file, if there is one.

    Raises:
        WrongPassphrase: the passphrase is wrong, or none was given.
        Unusable: the library does not support its format or cipher.
    """
    try:
        return load(data, passphrase)
    except TypeError:
        raise WrongPassphrase from None
    except UnsupportedAlgorithm as error:
        raise Unusable(f"it is not supported: {error}") from None
    except ValueError as error:
        said = str(error)
        # The library has no exception of its own for an unknown cipher. It also reports one when a
        # wrong passphrase leaves a padding that is right by chance, once in 256 times.
        if "encrypt" in said and not said.startswith(_GARBAGE):
            named = cipher or _named(said.rpartition(" ")[2])
            raise Unusable(
                f"its cipher {named} is not supported", sentences.change_cipher
            ) from None
        if passphrase is not None:  # with a wrong passphrase, the result may fail anywhere
            raise WrongPassphrase from None
        raise Unusable("it is broken") from None


def _named(identifier: str) -> str:
    return next((name for arc, name in _NAMES.items() if identifier.startswith(arc)), identifier)


def _usable(private: object) -> PrivateKey | None:
    """The same key, if SSH has its type and curve and they are safe."""
    if isinstance(private, dsa.DSAPrivateKey):
        raise _dsa()
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name not in _CURVES:
        raise Unusable(
            f"SSH has no ecdsa keys on the curve {private.curve.name}", sentences.create_key
        )
    if private is None or isinstance(private, PrivateKey):
        return private
    kind = type(private).__name__.removesuffix("PrivateKey")
    raise Unusable(
        f"its type ({kind}) is not supported; use ed25519, ecdsa or rsa", sentences.create_key
    )


def _dsa() -> Unusable:
    return Unusable(
        "it is a DSA key; DSA is not safe, and OpenSSH 10 has removed it", sentences.create_key
    )
