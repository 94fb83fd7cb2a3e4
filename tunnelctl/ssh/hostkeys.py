"""Host keys: what known_hosts says of a server, and whether the key that it shows is that one.

Owns the reading and the appending of known_hosts files (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) and
the verdict on a key. Must never rewrite a file, never lose a file because of one bad line, and
never accept a key that nothing vouches for.

Where several known keys exist and none is the one shown, that is a changed key, whatever its type
(OpenSSH hostfile.c): else a stranger would only have to offer a type that we had not met yet.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import logging
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host, StrictHostKeyChecking
from tunnelctl.ssh.failures import label

_log = logging.getLogger(__name__)

# ssh_config(5): UserKnownHostsFile and GlobalKnownHostsFile.
USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
GLOBAL_FILES = ("/etc/ssh/ssh_known_hosts",)
_DEFAULT_PORT = 22
_REVOKED = "@revoked"
_CERT_AUTHORITY = "@cert-authority"
_MARKERS = frozenset({_REVOKED, _CERT_AUTHORITY})
# What would be read back as something else than one plain host name.
_NOT_A_NAME = re.compile(r"[\s,*?!|#]|^@|^$")


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One line of a known_hosts file."""

    marker: str  # "", "@revoked" or "@cert-authority"
    patterns: str  # the host field as written: names, wildcards, or one hash
    key_type: str
    blob: bytes
    file: str
    line: int

    def matches(self, name: str) -> bool:
        """Whether the host field speaks of `name` (sshd(8); a negated match wins)."""
        if self.patterns.startswith("|"):
            return _hash_matches(self.patterns, name)
        found = False
        for pattern in self.patterns.lower().split(","):
            if _glob(pattern.removeprefix("!")).fullmatch(name):
                if pattern.startswith("!"):
                    return False
                found = True
        return found


def fingerprint(blob: bytes) -> str:
    """`SHA256:…` of a public key, as `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return "SHA256:" + digest.rstrip("=")


def verify(host: Host, key_type: str, blob: bytes) -> None:
    """Accept the key that `host` shows, or raise.

    A key marked @revoked is refused before all else. Pins (`host_key` in the profile) replace
    known_hosts. With `accept-new` the key of a host that is not known at all is recorded.

    Raises:
        Failure: host-key-unknown, host-key-changed (also for a revoked key), or
            permission-denied when an accepted key cannot be recorded.
    """
    about = _lines_about(host)
    _refuse_revoked(host, about, blob)
    if host.host_key:
        if fingerprint(blob) not in _pins(host):
            raise _not_pinned(host, key_type, blob)
        return
    known = [key for key in about if not key.marker]
    if any(key.blob == blob for key in known):
        return
    named = [key for key in known if key.matches(_name(host))]
    if named:
        raise _changed(host, key_type, blob, named)
    if host.strict_host_key_checking is StrictHostKeyChecking.ACCEPT_NEW:
        record(host, key_type, blob)
        return
    raise _unknown(host, key_type, blob, certified=any(k.marker == _CERT_AUTHORITY for k in about))


def known_key_types(host: Host) -> tuple[str, ...]:
    """The types of the keys that are known for `host`, to be offered first in the key exchange.

    Without this order a server with several keys would show one of a type that is not known,
    and that would look like a changed key (OpenSSH sshconnect2.c, order_hostkeyalgs).
    """
    known = [key for key in _lines_about(host) if not key.marker]
    if host.host_key:
        pins = _pins(host)
        known = [key for key in known if fingerprint(key.blob) in pins]
    return tuple(dict.fromkeys(key.key_type for key in known))


def record(host: Host, key_type: str, blob: bytes) -> Path:
    """Append the key to the first known_hosts file of `host`, unless it is there; returns which.

    One write under a lock, then fsync; a directory is made 0700 and a file 0600.

    Raises:
        Failure: permission-denied when the file cannot be written.
    """
    name = _name(host)
    if _NOT_A_NAME.search(name):
        raise Failure(
            Code.CONFIG_INVALID,
            f"{label(host)}: {name!r} cannot be written to known_hosts as a host name",
            "correct host_key_alias or hostname in the profile",
        )
    path = Path((host.user_known_hosts_file or USER_FILES)[0]).expanduser()
    try:
        _append(path, name, key_type, blob)
    except OSError as error:
        raise Failure(
            Code.PERMISSION_DENIED,
            f"{label(host)}: cannot record its host key in {path}: {error.strerror or error}",
            "make the file writable, or name another one with user_known_hosts_file",
        ) from None
    return path


def trust_command(host: Host, blob: bytes) -> str:
    """The command that records exactly this key where it is looked for."""
    name = f"[{host.hostname}]" if ":" in host.hostname else host.hostname
    words = ["tunnelctl", "trust", name if host.port == _DEFAULT_PORT else f"{name}:{host.port}"]
    words += ["--fingerprint", fingerprint(blob)]
    if host.host_key_alias is not None:
        words += ["--host-key-alias", host.host_key_alias]
    if host.user_known_hosts_file:
        words += ["--known-hosts", host.user_known_hosts_file[0]]
    return shlex.join(words)


# --- reading -------------------------------------------------------------------------------


def _name(host: Host) -> str:
    """The name under which known_hosts has the host: the alias, `host`, or `[host]:port`."""
    if host.host_key_alias is not None:
        return host.host_key_alias.lower()
    name = host.hostname.lower()
    return name if host.port == _DEFAULT_PORT else f"[{name}]:{host.port}"


def _lines_about(host: Host) -> list[KnownKey]:
    """Every line that speaks of the host.

    Lines for the name without the port count too where the port is another one than 22: a key
    that matches them is accepted, one that does not says nothing (OpenSSH check_host_key).
    """
    names = {_name(host)}
    if host.host_key_alias is None:
        names.add(host.hostname.lower())
    return [key for key in _read(host) if any(key.matches(name) for name in names)]


def _read(host: Host) -> Iterator[KnownKey]:
    for name in (*(host.user_known_hosts_file or USER_FILES), *GLOBAL_FILES):
        path = Path(name).expanduser()
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.warning("%s cannot be read: %s", path, error.strerror or error)
            continue
        yield from parse(text, str(path))


def parse(text: str, file: str) -> Iterator[KnownKey]:
    """The keys of one known_hosts file. A line that is not understood is logged and skipped."""
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            yield _parse_line(fields, file, number)
        except ValueError as error:
            _log.info("%s:%d: skipped: %s", file, number, error)


def _parse_line(fields: Sequence[str], file: str, number: int) -> KnownKey:
    marker = fields[0] if fields[0].startswith("@") else ""
    if marker and marker not in _MARKERS:
        raise ValueError(f"unknown marker {marker}")
    rest = fields[1:] if marker else fields
    if len(rest) < 3:
        raise ValueError("not: hosts, key type, key")
    patterns, key_type, encoded = rest[:3]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the key is not base64: {error}") from None
    inner = key_type.encode()
    if not blob.startswith(len(inner).to_bytes(4, "big") + inner):
        raise ValueError(f"the key is not of type {key_type}")
    return KnownKey(marker, patterns, key_type, blob, file, number)


def _hash_matches(field: str, name: str) -> bool:
    """`|1|salt|hash`: HMAC-SHA1 of the name, keyed by the salt (OpenSSH hostfile.c)."""
    parts = field.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in parts[2:])
    except ValueError:  # not base64, or not even ASCII
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


def _glob(pattern: str) -> re.Pattern[str]:
    """`*` and `?` alone are special (ssh_config(5) PATTERNS); brackets belong to `[host]:port`."""
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(c) or re.escape(c) for c in pattern), re.DOTALL)


def _pins(host: Host) -> frozenset[str]:
    """Pins may be written with the base64 padding that ssh-keygen leaves out."""
    return frozenset(pin.rstrip("=") for pin in host.host_key)


# --- appending -----------------------------------------------------------------------------


def _append(path: Path, name: str, key_type: str, blob: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = f"{name} {key_type} {base64.b64encode(blob).decode()}\n".encode()
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go by the close
        present = file.readall() or b""
        if line.strip() in (known.strip() for known in present.splitlines()):
            return
        if present and not present.endswith(b"\n"):
            line = b"\n" + line  # else the last line and ours would become one bad line
        written = file.write(line)
        if written != len(line):
            file.truncate(len(present))
            raise OSError(f"only {written} of {len(line)} bytes could be written")
        os.fsync(file.fileno())


# --- verdicts ------------------------------------------------------------------------------


def _refuse_revoked(host: Host, about: Sequence[KnownKey], blob: bytes) -> None:
    for key in about:
        if key.marker == _REVOKED and key.blob == blob:
            raise Failure(
                Code.HOST_KEY_CHANGED,
                f"{label(host)} shows a host key that {key.file}:{key.line} marks as @revoked: "
                f"{key.key_type} {fingerprint(blob)}",
                "it may be an impostor with a stolen key: do not connect; ask who runs the server",
            )


def _not_pinned(host: Host, key_type: str, blob: bytes) -> Failure:
    pinned = ", ".join(host.host_key)
    return Failure(
        Code.HOST_KEY_CHANGED,
        f"{label(host)} shows the host key {key_type} {fingerprint(blob)}, "
        f"but the profile pins {pinned}",
        "ask who runs the server; only if this key is right too, add it to host_key in the profile",
    )


def _changed(host: Host, key_type: str, blob: bytes, known: Sequence[KnownKey]) -> Failure:
    old = next((key for key in known if key.key_type == key_type), known[0])
    name = _name(host)
    if old.patterns.startswith("|") or name in old.patterns.lower().split(","):
        remove = f"ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(old.file)}"
    else:  # a wildcard, which ssh-keygen -R leaves alone
        remove = f"remove line {old.line} of {old.file}"
    return Failure(
        Code.HOST_KEY_CHANGED,
        f"{label(host)} shows another host key than the known one: {key_type} {fingerprint(blob)} "
        f"now, {old.key_type} {fingerprint(old.blob)} in {old.file}:{old.line}",
        "it may be an impostor; only if you know that the key was changed: "
        f"{remove}; then {trust_command(host, blob)}",
    )


def _unknown(host: Host, key_type: str, blob: bytes, *, certified: bool) -> Failure:
    why = (
        "is known by a certificate authority only, and host certificates are not supported yet"
        if certified
        else "is not known"
    )
    return Failure(
        Code.HOST_KEY_UNKNOWN,
        f"{label(host)} {why}; it shows the host key {key_type} {fingerprint(blob)}",
        "compare the fingerprint with what the server's owner tells you, then: "
        + trust_command(host, blob),
    )
