"""Private keys in files: find, check, open with a passphrase, and sign.

Owns the rules for a key file: its permissions, the minimum length of its key, and which public part
belongs to it. Must never keep a passphrase, and never open a private part before a server has said
that it would accept the key.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import field
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from tunnelctl.errors import Failure
from tunnelctl.net import files
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.ssh.keys import forms as key_forms
from tunnelctl.ssh.keys import sentences, signatures
from tunnelctl.ssh.keys.forms import Unusable
from tunnelctl.ssh.keys.signatures import PrivateKey
from tunnelctl.wire.messages import ProtocolError, Reader, string

# ssh_config(5) RequiredRSASize is 1024 by default; less than 2048 is not accepted here.
RSA_BITS_MIN = 2048
_KEY_FILE_MAX = 1 << 20
# Descriptors of the current process: `<(…)` of a shell is one of them.
_IN_PROCESS = re.compile(r"/dev/(?:fd/|stdin$)|/proc/(?:thread-)?self/fd/")
# The suffix of certificate types (OpenSSH PROTOCOL.certkeys).
CERTIFICATE_SUFFIX = "-cert-v01@openssh.com"

# Passphrases to try for a file, one after the other; none if none is available.
Passphrases = Callable[[Path], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Identity:
    """A key that may be offered to a server. `sign` takes the data and the algorithm's name."""

    name: str  # its name in messages
    blob: bytes  # the public key, as SSH sends it
    sign: Callable[[bytes, str], bytes] = field(repr=False)
    by_agent: bool = False  # an agent signs with it, which may ask a person
    in_agent: bool = False  # no file of the profile names it

    @property
    def key_type(self) -> str:
        """`ssh-ed25519`, `ssh-rsa`, …"""
        return key_type(self.blob)


def key_type(blob: bytes) -> str:
    """The type that a public key names.

    Raises:
        ProtocolError: the bytes are no public key.
    """
    return Reader(blob).text()


def too_short(blob: bytes) -> int:
    """The length in bits of an RSA key that is too short to be safe; 0 for any other key."""
    reader = Reader(blob)
    if reader.text() != "ssh-rsa":
        return 0
    reader.string()  # the public exponent
    bits = int.from_bytes(reader.string(), "big").bit_length()
    return bits if bits < RSA_BITS_MIN else 0


class KeyFile:
    """One `identity_file`. `blob` is its public part, None if only a passphrase reveals it.

    The file may also be a public key, whose private part is in an agent then.

    Raises:
        Failure: key-unreadable, with what to do about it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        read = _read(path)
        self._data, self._status = read.data, read.status
        self.is_private = key_forms.is_private(self._data)
        self.blob = self._public_part()
        if self.blob is not None and (bits := _bits_too_few(self.blob, path)):
            raise sentences.key_too_short(path, bits, RSA_BITS_MIN)

    def _public_part(self) -> bytes | None:
        if not self.is_private:
            return _public_line(self._data, self.path)
        try:
            blob = key_forms.public_blob(self._data)
        except Unusable as reason:
            raise _unusable(self.path, reason) from None
        if blob is not None:
            return blob
        with contextlib.suppress(Failure):  # it may be in another format, which other programs read
            return read_public(_beside(self.path))
        private = _open(self._data, None, self.path)
        return None if private is None else _public_blob(private)

    def check_private(self) -> None:
        """Check that it is a private key, and that no other user may use a file of ours."""
        if not self.is_private and self.blob and key_type(self.blob).endswith(CERTIFICATE_SUFFIX):
            raise sentences.no_key_for_certificate(self.path)
        if not self.is_private:
            raise sentences.no_key_for_public_key(self.path)
        status = self._status
        if status.st_uid != os.getuid():
            return  # OpenSSH authfile.c, sshkey_perm_ok: the owner decides who may read it
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise sentences.key_open_to_others(self.path, mode)

    def identity(self, passphrases: Passphrases) -> Identity:
        """The key, ready to sign; opens an encrypted file only if it must."""
        self.check_private()
        opened: list[PrivateKey] = []
        blob = self.blob
        if blob is None:
            opened.append(self._unlock(passphrases))
            blob = _public_blob(opened[0])
            if bits := _bits_too_few(blob, self.path):
                raise sentences.key_too_short(self.path, bits, RSA_BITS_MIN)

        def sign(data: bytes, algorithm: str) -> bytes:
            private = opened[0] if opened else self._unlock(passphrases)
            if _public_blob(private) != blob:
                raise sentences.other_public_key(self.path, _beside(self.path))
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
            raise sentences.wrong_passphrase(self.path)
        raise sentences.no_passphrase(self.path)


def read_public(path: Path) -> bytes:
    """The public key or certificate in a file.

    Raises:
        Failure: key-unreadable.
    """
    return _public_line(_read(path).data, path)


def _read(path: Path) -> files.Contents:
    """The file, or its public half if only that exists (the private one is in an agent).

    A pipe with a writer is a file too, as for ssh(1).
    """
    if _IN_PROCESS.match(str(path)):
        raise sentences.key_in_a_process(path)
    try:
        try:
            return files.read(path, _KEY_FILE_MAX)
        except FileNotFoundError:
            if not files.exists(path := _beside(named := path), regular=True):
                path = named
            return files.read(path, _KEY_FILE_MAX)
    except FileNotFoundError:
        raise sentences.no_such_key(path) from None
    except OSError as error:
        raise sentences.key_unreadable(path, error.strerror or str(error)) from None


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".pub")


def _unusable(path: Path, reason: Unusable) -> Failure:
    new = path.with_suffix("") if path.suffix else path.with_name(f"{path.name}.pem")
    while new.exists():  # the output of the command must not replace a key
        new = new.with_name(f"{new.name}.new")
    return sentences.key_unusable(path, str(reason), reason.hint(path, new))


def _bits_too_few(blob: bytes, path: Path) -> int:
    try:
        return too_short(blob)
    except ProtocolError:
        raise sentences.key_unreadable(path, "its public key is damaged") from None


def _public_line(data: bytes, path: Path) -> bytes:
    """The key of the first `TYPE BASE64 COMMENT` (sshd(8), AUTHORIZED_KEYS without options)."""
    for line in data.splitlines():
        fields = line.split()
        try:
            blob = base64.b64decode(fields[1], validate=True)
        except (IndexError, binascii.Error):
            continue
        if string(fields[0]) == blob[: 4 + len(fields[0])]:
            return blob
    raise _unusable(path, key_forms.stranger(data))


def _open(data: bytes, passphrase: bytes | None, path: Path) -> PrivateKey | None:
    """The private key; None if it needs a passphrase, or another one."""
    try:
        return key_forms.open_private(data, passphrase)
    except Unusable as reason:
        raise _unusable(path, reason) from None


def _public_blob(private: PrivateKey) -> bytes:
    line = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return base64.b64decode(line.split()[1])
