"""Private keys in files: found, checked, opened with a passphrase, and used to sign.

Owns the rules for a key file (who may own it, who may read it, how short it may be) and the three
forms in which it comes (OpenSSH, PEM, PKCS#8). Must never keep a passphrase, and never open a
private part before a server has said that it would accept the key.
"""

from __future__ import annotations

import base64
import binascii
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from tunnelctl.errors import Code, Failure
from tunnelctl.ssh import signatures
from tunnelctl.ssh.signatures import PrivateKey
from tunnelctl.wire.messages import ProtocolError, Reader, string

# ssh_config(5) RequiredRSASize is 1024 by default; less than 2048 is not accepted here.
RSA_BITS_MIN = 2048
_KEY_FILE_MAX = 1 << 20
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_PRIVATE = b" PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"  # OpenSSH PROTOCOL.key

# Passphrases to try for a file, one after the other; none where none can be had.
Passphrases = Callable[[Path], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Identity:
    """A key that may be offered to a server. `sign` takes the data and the algorithm's name."""

    name: str  # how messages call it
    blob: bytes  # the public key, as SSH sends it
    sign: Callable[[bytes, str], bytes] = field(repr=False)

    @property
    def key_type(self) -> str:
        """`ssh-ed25519`, `ssh-rsa`, …"""
        return key_type(self.blob)


def key_type(blob: bytes) -> str:
    """The type that a public key says it is of.

    Raises:
        ProtocolError: the bytes are no public key.
    """
    return Reader(blob).text()


def too_short(blob: bytes) -> int:
    """The length in bits of an RSA key that is too short to be trusted; 0 for any other key."""
    reader = Reader(blob)
    if reader.text() != "ssh-rsa":
        return 0
    reader.string()  # the public exponent
    bits = int.from_bytes(reader.string(), "big").bit_length()
    return bits if bits < RSA_BITS_MIN else 0


class KeyFile:
    """One `identity_file`. `blob` is its public part, None when only a passphrase shows it.

    The file may also be a public key, whose private part is then in an agent.

    Raises:
        Failure: key-unreadable, with what to do about it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = _read(path)
        self.is_private = _PRIVATE in self._data
        self.blob = self._public_part()
        if self.blob is not None and (bits := _bits_too_few(self.blob, path)):
            raise _short(path, bits)

    def _public_part(self) -> bytes | None:
        if not self.is_private:
            return _public_line(self._data, self.path)
        if self._data.lstrip().startswith(_OPENSSH):
            return _public_of_openssh(self._data, self.path)
        beside = self.path.with_name(self.path.name + ".pub")
        if beside.is_file():
            return _public_line(beside.read_bytes(), beside)
        private = _open(self._data, None, self.path)
        return None if private is None else _public_blob(private)

    def check_private(self) -> None:
        """The rules of ssh(1) for a private key, and that its owner is us or root."""
        if not self.is_private:
            raise Failure(
                Code.KEY_UNREADABLE,
                f"{self.path} is a public key, and no ssh-agent has its private part",
                "name the private key, or add it to the agent with ssh-add",
            )
        status = self.path.stat()
        if os.geteuid() != 0 and status.st_uid not in (0, os.geteuid()):
            raise Failure(
                Code.KEY_UNREADABLE,
                f"the private key {self.path} belongs to another user (uid {status.st_uid})",
                f"chown {os.geteuid()} {shlex.quote(str(self.path))}",
            )
        if mode := stat.S_IMODE(status.st_mode) & 0o077:
            raise Failure(
                Code.KEY_UNREADABLE,
                f"others may use the private key {self.path} "
                f"(mode {stat.S_IMODE(status.st_mode):04o}, {mode:03o} too many)",
                f"chmod 600 {shlex.quote(str(self.path))}",
            )

    def identity(self, passphrases: Passphrases) -> Identity:
        """The key as something to sign with; opens an encrypted file only when it must."""
        self.check_private()
        opened: list[PrivateKey] = []
        blob = self.blob
        if blob is None:
            opened.append(self._unlock(passphrases))
            blob = _public_blob(opened[0])
            if bits := _bits_too_few(blob, self.path):
                raise _short(self.path, bits)

        def sign(data: bytes, algorithm: str) -> bytes:
            private = opened[0] if opened else self._unlock(passphrases)
            return signatures.sign(private, data, algorithm)

        return Identity(str(self.path), blob, sign)

    def _unlock(self, passphrases: Passphrases) -> PrivateKey:
        private, tried = _open(self._data, None, self.path), False
        if private is not None:
            return private
        for passphrase in passphrases(self.path):
            tried = True
            private = _open(self._data, passphrase.encode(), self.path)
            if private is not None:
                return private
        if tried:
            raise Failure(
                Code.KEY_UNREADABLE,
                f"the passphrase does not open the private key {self.path}",
                f"check it with: ssh-keygen -y -f {shlex.quote(str(self.path))}",
            )
        raise Failure(
            Code.KEY_UNREADABLE,
            f"the private key {self.path} is encrypted, and no passphrase is given",
            f"run: ssh-add {shlex.quote(str(self.path))}; "
            "or name one with passphrase: in the profile",
        )


def read_public(path: Path) -> bytes:
    """The public key or certificate that a file has.

    Raises:
        Failure: key-unreadable.
    """
    return _public_line(_read(path), path)


def _read(path: Path) -> bytes:
    """The file, or its public half where only that is there (the private one in an agent)."""
    beside = path.with_name(path.name + ".pub")
    if not path.exists() and beside.is_file():
        path = beside
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _unreadable(path, "it is not a regular file")
            data = file.read(_KEY_FILE_MAX + 1)
    except FileNotFoundError:
        raise Failure(
            Code.KEY_UNREADABLE,
            f"the private key {path} does not exist",
            "correct identity_file, or make one: "
            f"ssh-keygen -t ed25519 -f {shlex.quote(str(path))}",
        ) from None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    if len(data) > _KEY_FILE_MAX:
        raise _unreadable(path, "it is too long for a key")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """A pipe is opened at once, and then found to be none of ours (fifo(7))."""
    return os.open(path, flags | os.O_NONBLOCK)


def _unreadable(path: Path, why: str) -> Failure:
    return Failure(
        Code.KEY_UNREADABLE,
        f"the key {path} cannot be read: {why}",
        f"check it with: ssh-keygen -y -f {shlex.quote(str(path))}",
    )


def _short(path: Path, bits: int) -> Failure:
    return Failure(
        Code.KEY_UNREADABLE,
        f"the RSA key {path} has {bits} bits, fewer than the {RSA_BITS_MIN} that are safe",
        "make a better one: ssh-keygen -t ed25519",
    )


def _bits_too_few(blob: bytes, path: Path) -> int:
    try:
        return too_short(blob)
    except ProtocolError:
        raise _unreadable(path, "its public part is broken") from None


def _public_line(data: bytes, path: Path) -> bytes:
    """The key of `TYPE BASE64 COMMENT` (sshd(8), AUTHORIZED_KEYS without options)."""
    fields = data.split()
    try:
        blob = base64.b64decode(fields[1], validate=True)
        if string(fields[0]) == blob[: 4 + len(fields[0])]:
            return blob
    except (IndexError, binascii.Error):
        pass
    raise _unreadable(path, "it is neither a private nor a public key")


def _public_of_openssh(data: bytes, path: Path) -> bytes:
    """The public part, which stands in the clear also in an encrypted file (PROTOCOL.key)."""
    lines = data.strip().splitlines()
    try:
        raw = base64.b64decode(b"".join(lines[1:-1]))
        reader = Reader(raw.removeprefix(_MAGIC))
        for _ in ("cipher", "kdf", "its options"):
            reader.string()
        if raw.startswith(_MAGIC) and reader.u32() == 1:
            return reader.string()
    except (binascii.Error, ProtocolError):
        pass
    raise _unreadable(path, "it is broken")


def _open(data: bytes, passphrase: bytes | None, path: Path) -> PrivateKey | None:
    """The private key; None where it takes a passphrase, or another one."""
    load = (
        serialization.load_ssh_private_key
        if data.lstrip().startswith(_OPENSSH)
        else serialization.load_pem_private_key
    )
    try:
        private = load(data, passphrase)
    except TypeError:
        return None
    except UnsupportedAlgorithm:
        raise Failure(
            Code.KEY_UNREADABLE,
            f"the key {path} is of a type that works by way of an ssh-agent alone",
            f"ssh-add {shlex.quote(str(path))}",
        ) from None
    except ValueError as error:
        if passphrase is None:
            raise _unreadable(path, str(error) or "it is broken") from None
        return None
    if not isinstance(private, PrivateKey):
        raise _unreadable(path, "its type is not supported; use ed25519, ecdsa or rsa")
    return private


def _public_blob(private: PrivateKey) -> bytes:
    line = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return base64.b64decode(line.split()[1])
