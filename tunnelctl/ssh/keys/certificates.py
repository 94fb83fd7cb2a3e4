"""OpenSSH certificates (OpenSSH PROTOCOL.certkeys): a key, and the statement of its authority about
it.

Owns their format, and the reasons why a host certificate is not valid (OpenSSH sshkey.c,
sshkey_cert_check_host). Must never judge whether the authority is trusted: server_key/ does.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.algorithms import AUTHORITY_ALGORITHMS
from tunnelctl.spec.ssh_patterns import matches_pattern
from tunnelctl.ssh.keys.key_files import CERTIFICATE_SUFFIX, too_short
from tunnelctl.ssh.keys.signatures import algorithms_of, verify
from tunnelctl.wire.messages import ProtocolError, Reader, string

USER, HOST = 1, 2
_VENDOR = "@openssh.com"
# The fields of a public key after its type; numbers and points are strings too (RFC 4251).
_FIELDS = {
    "ssh-ed25519": 1,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "ssh-rsa": 2,
    "sk-ssh-ed25519@openssh.com": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
_FOR_EVER = 0xFFFF_FFFF_FFFF_FFFF


def is_certified(name: str) -> bool:
    """Whether a key type or an algorithm is that of a certificate."""
    return name.endswith(CERTIFICATE_SUFFIX)


def plain(name: str) -> str:
    """The type of the certified key, or the algorithm that it signs with."""
    if not is_certified(name):
        return name
    stem = name.removesuffix(CERTIFICATE_SUFFIX)
    return stem + _VENDOR if stem.startswith("sk-") else stem


def certified(name: str) -> str:
    """The certificate type or algorithm for a plain one: the inverse of `plain`."""
    return name.removesuffix(_VENDOR) + CERTIFICATE_SUFFIX


@dataclass(frozen=True, slots=True)
class Certificate:
    """The content of a certificate. Times are seconds since 1970, as in the certificate."""

    key: bytes  # the plain public key that is certified
    kind: int  # USER or HOST
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical_options: tuple[str, ...]
    authority: bytes  # the plain public key of the authority that signed it
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, blob: bytes) -> Certificate:
        """Raises ProtocolError unless `blob` is a certificate of a known type."""
        reader = Reader(blob)
        kind = plain(reader.text())
        if kind not in _FIELDS:
            raise ProtocolError("a certificate of an unknown type")
        reader.string()  # the nonce
        key = string(kind) + b"".join(string(reader.string()) for _ in range(_FIELDS[kind]))
        _u64(reader)  # the serial number
        use, key_id, principals = reader.u32(), reader.text(), _strings(reader.string())
        after, before = _u64(reader), _u64(reader)
        options = _strings(reader.string())[::2]
        reader.string()  # extensions, which may be ignored
        reader.string()  # reserved
        authority, signature = reader.string(), reader.string()
        if reader.rest():
            raise ProtocolError("a certificate with something behind it")
        signed = blob[: -len(string(signature))]
        return cls(
            key, use, key_id, principals, after, before, options, authority, signed, signature
        )

    def flaw(self, name: str, now: float) -> str:
        """Why it is not valid for the host `name` at `now`; empty if it is.

        The rules and their order are OpenSSH's. A certificate without principals is valid for no
        host (since OpenSSH 10.3; before that for every host).
        """
        if bits := too_short(self.authority):
            return f"its authority's key has only {bits} bits"
        if not verify(self.authority, self.signature, self.signed, AUTHORITY_ALGORITHMS):
            return "its signature is wrong, or made with an algorithm that is not safe"
        if self.kind != HOST:
            return "it is no host certificate"
        if when := self.out_of_date(now):
            return when
        if not self.principals:
            return "it names no host"
        if not any(matches_pattern(name, principal) for principal in self.principals):
            return f"it is for {', '.join(self.principals)}, not for {name}"
        if self.critical_options:
            return f"it has critical options that are unknown: {', '.join(self.critical_options)}"
        return ""

    def out_of_date(self, now: float) -> str:
        """Why it is not valid at `now`: not yet, or no longer; empty if it is."""
        if now < self.valid_after:
            return f"it is valid from {_day(self.valid_after)} on"
        if now >= self.valid_before:
            return f"it expired at {_day(self.valid_before)}"
        return ""


def plain_key(blob: bytes) -> bytes:
    """The key of a certificate, or `blob` itself if it is a plain key.

    Raises:
        ProtocolError: `blob` is neither.
    """
    return Certificate.parse(blob).key if is_certified(Reader(blob).text()) else blob


def key_type_of(algorithm: str) -> str:
    """The key type of a host key algorithm: `ssh-rsa` for `rsa-sha2-512`."""
    wanted = plain(algorithm)
    if wanted in algorithms_of("ssh-rsa"):
        wanted = "ssh-rsa"
    return certified(wanted) if is_certified(algorithm) else wanted


def _u64(reader: Reader) -> int:
    return reader.u32() << 32 | reader.u32()


def _strings(packed: bytes) -> tuple[str, ...]:
    found = []
    reader, left = Reader(packed), len(packed)
    while left > 0:
        raw = reader.string()
        left -= len(string(raw))
        found.append(raw.decode("utf-8", "replace"))
    return tuple(found)


def _day(moment: int) -> str:
    """A time of a certificate in UTC, for a person; also for years that no calendar type can
    hold."""
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return "the end of time" if moment == _FOR_EVER else f"second {moment}"


def fingerprint(blob: bytes) -> str:
    """`SHA256:…` of a public key or of the key in a certificate, as `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(plain_key(blob)).digest()).decode()
    return "SHA256:" + digest.rstrip("=")
