"""The ciphers of encrypted key files: OpenSSH's own, and those of PEM.

Owns the derivation of a key from a passphrase and the decryption with it. The parser of
cryptography knows fewer ciphers than `ssh-keygen -Z` and openssl(1) write. Must never keep a
passphrase.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import bcrypt
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.wire.messages import Reader

_Algorithm = Callable[[bytes], CipherAlgorithm]
_TAG = 16  # bytes of the tag at the end of AEAD ciphertext
_SALT = 8  # bytes of the IV that are the salt of a PEM file's key
_WORD = 32  # length of a ChaCha20 key in bytes


class WrongPassphrase(ValueError):
    """The decrypted text is not a valid plain text."""


@dataclass(frozen=True, slots=True)
class KeyCipher:
    """A cipher of a key file; `key` and `iv` are lengths in bytes.

    `decrypt` takes key, IV and ciphertext, and raises InvalidTag or InvalidSignature.
    """

    key: int
    iv: int
    decrypt: Callable[[bytes, bytes, bytes], bytes]
    tag: int = 0


def _in_mode(
    algorithm: _Algorithm, mode: type[modes.CBC | modes.CTR]
) -> Callable[[bytes, bytes, bytes], bytes]:
    def decrypt(key: bytes, iv: bytes, sealed: bytes) -> bytes:
        decryptor = Cipher(algorithm(key), mode(iv)).decryptor()
        return decryptor.update(sealed) + decryptor.finalize()

    return decrypt


def _gcm(key: bytes, iv: bytes, sealed: bytes) -> bytes:
    return AESGCM(key).decrypt(iv, sealed, None)


def _chacha20_poly1305(key: bytes, _iv: bytes, sealed: bytes) -> bytes:
    """OpenSSH PROTOCOL.chacha20poly1305 with sequence number 0 and no length field.

    The first block of the stream is the key of the tag; its counter and nonce are the IV.
    """
    main, body, tag = key[:_WORD], sealed[:-_TAG], sealed[-_TAG:]
    once = Cipher(ChaCha20(main, bytes(16)), None).encryptor().update(bytes(_WORD))
    Poly1305.verify_tag(once, body, tag)
    second_block = (1).to_bytes(8, "little") + bytes(8)
    return Cipher(ChaCha20(main, second_block), None).decryptor().update(body)


# OpenSSH cipher.c; the names contain the length of each key.
_OPENSSH = {
    **{
        f"aes{bits}-ctr": KeyCipher(bits // 8, 16, _in_mode(AES, modes.CTR))
        for bits in (128, 192, 256)
    },
    **{
        f"aes{bits}-cbc": KeyCipher(bits // 8, 16, _in_mode(AES, modes.CBC))
        for bits in (128, 192, 256)
    },
    **{f"aes{bits}-gcm@openssh.com": KeyCipher(bits // 8, 12, _gcm, _TAG) for bits in (128, 256)},
    "3des-cbc": KeyCipher(24, 8, _in_mode(TripleDES, modes.CBC)),
    "chacha20-poly1305@openssh.com": KeyCipher(2 * _WORD, 0, _chacha20_poly1305, _TAG),
}
# By the name in DEK-Info (RFC 1423 and OpenSSL); the library reads all others itself.
_PEM = {
    "AES-192-CBC": KeyCipher(24, 16, _in_mode(AES, modes.CBC)),
    **{
        f"CAMELLIA-{bits}-CBC": KeyCipher(bits // 8, 16, _in_mode(Camellia, modes.CBC))
        for bits in (128, 192, 256)
    },
}


def openssh_cipher(name: str, kdf: str) -> KeyCipher | None:
    """The cipher of a key in OpenSSH's own format; None if it is not supported here."""
    return _OPENSSH.get(name) if kdf == "bcrypt" else None


def decrypted_openssh(
    cipher: KeyCipher, kdf_options: bytes, sealed: bytes, passphrase: bytes
) -> bytes:
    """The private part of a key in OpenSSH's own format (PROTOCOL.key section 3), with its padding.

    Raises:
        WrongPassphrase
        ProtocolError: the options are broken.
    """
    reader = Reader(kdf_options)
    salt, rounds = reader.string(), reader.u32()
    try:
        made = bcrypt.kdf(passphrase, salt, cipher.key + cipher.iv, rounds, ignore_few_rounds=True)
        opened = cipher.decrypt(made[: cipher.key], made[cipher.key :], sealed)
    except (InvalidTag, InvalidSignature, ValueError):
        raise WrongPassphrase from None
    if opened[:4] != opened[4:8]:
        raise WrongPassphrase
    return opened


def pem_cipher(name: str) -> KeyCipher | None:
    """The cipher of an encrypted PEM file that the library does not read itself."""
    return _PEM.get(name)


def decrypted_pem(cipher: KeyCipher, iv: bytes, sealed: bytes, passphrase: bytes) -> bytes:
    """The DER in an encrypted PEM file (OpenSSL's EVP_BytesToKey with MD5, one iteration).

    Raises:
        WrongPassphrase
    """
    key = block = b""
    while len(key) < cipher.key:
        salted = block + passphrase + iv[:_SALT]
        block = hashlib.md5(salted, usedforsecurity=False).digest()
        key += block
    try:
        padded = cipher.decrypt(key[: cipher.key], iv, sealed)
        unpadder = PKCS7(8 * cipher.iv).unpadder()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise WrongPassphrase from None
