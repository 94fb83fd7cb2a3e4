"""The known_hosts files (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): read, and appended to.

Owns which lines apply to a host and how a new one is written. Must never rewrite a file, never
discard a file because of one bad line, and never judge a key: verify.py does.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import functools
import hmac
import logging
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunnelctl.errors import reason
from tunnelctl.net import files
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host, StrictHostKeyChecking
from tunnelctl.spec.ssh_patterns import matches_pattern
from tunnelctl.ssh.sentences import file_silent
from tunnelctl.ssh.server_key import sentences

_log = logging.getLogger(__name__)

# ssh_config(5): UserKnownHostsFile and GlobalKnownHostsFile.
USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
GLOBAL_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
REVOKED = "@revoked"
CERT_AUTHORITY = "@cert-authority"
_MARKERS = frozenset({REVOKED, CERT_AUTHORITY})
_DEFAULT_PORT = 22
_FILE_MAX = 16 << 20  # bytes of one file: more than a hundred thousand keys
# Stands for the file of a key that could not be written; it has no lines.
IN_MEMORY = "the memory of this process"
# Keys by the file that they belong in, with the policy under which each was accepted. A key that
# was accepted once stays known as long as this process lives; otherwise any other key would be
# accepted at the next login.
_unwritten: dict[str, list[tuple[KnownKey, StrictHostKeyChecking]]] = {}
# Characters with which a name would not be read back as one plain host name.
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

    @property
    def place(self) -> str:
        """Its file and line, for a message."""
        return self.file if self.file == IN_MEMORY else f"{self.file}:{self.line}"

    def matches(self, name: str) -> bool:
        """Whether the host field matches `name` (sshd(8); a negated match wins)."""
        if self.patterns.startswith("|"):
            return _hash_matches(self.patterns, name)
        found = False
        for pattern in self.patterns.lower().split(","):
            if matches_pattern(name, pattern.removeprefix("!")):
                if pattern.startswith("!"):
                    return False
                found = True
        return found


def name_of(host: Host) -> str:
    """The name of the host in known_hosts: the alias, `host`, or `[host]:port`."""
    if host.host_key_alias is not None:
        return host.host_key_alias.lower()
    name = host.hostname.lower()
    return name if host.port == _DEFAULT_PORT else f"[{name}]:{host.port}"


def lines_about(host: Host, environment: Environment) -> list[KnownKey]:
    """Every line that applies to the host.

    If the port is not 22, lines for the name without the port count too: a key that matches them is
    accepted, one that does not proves nothing (OpenSSH check_host_key). Lines that were written
    since replace keys that could not be written.
    """
    names = names_of(host)
    lines = [key for key in read(host, environment) if any(key.matches(name) for name in names)]
    written = [key for key in lines if key.file != IN_MEMORY]
    if any(not key.marker and key.matches(names[0]) for key in written):
        return written
    return lines


def names_of(host: Host) -> tuple[str, ...]:
    """The names in lines that apply to the host, its own first (see `lines_about`)."""
    others = () if host.host_key_alias is not None else (host.hostname.lower(),)
    return tuple(dict.fromkeys((name_of(host), *others)))


def parse(text: str, file: str) -> Iterator[KnownKey]:
    """The keys of one known_hosts file. A malformed line is logged and skipped."""
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            yield _parse_line(fields, file, number)
        except ValueError as error:
            _log.info("%s:%d: skipped: %s", file, number, error)


def append(host: Host, key_type: str, blob: bytes, environment: Environment) -> Path:
    """Append a key to the first known_hosts file of `host`, unless it is there; returns the file.

    One write under a lock, then fsync; a new directory has mode 0700 and a new file 0600.

    Raises:
        Failure: config-invalid if the name of the host cannot be written there,
            permission-denied if the file cannot be written.
    """
    name = name_of(host)
    if _NOT_A_NAME.search(name):
        raise sentences.not_a_known_hosts_name(host, name)
    path = _file_for(host, environment)
    line = f"{name} {key_type} {base64.b64encode(blob).decode()}\n".encode()
    try:
        files.ask(path, f"append {name} {key_type}", functools.partial(_append, path, line))
    except OSError as error:
        why = error.strerror or str(error)
        raise sentences.known_hosts_not_written(host, path, why) from None
    return path


def keep_in_memory(host: Host, key_type: str, blob: bytes, environment: Environment) -> None:
    """Keep a key that could not be appended as known, as long as this process lives.

    A key that `accept-new` accepted is known only to hosts with that policy; a key that a person
    accepted, to all.
    """
    kept = KnownKey("", name_of(host), key_type, blob, IN_MEMORY, 0)
    unwritten = _unwritten.setdefault(str(_file_for(host, environment)), [])
    unwritten.append((kept, host.strict_host_key_checking))


def _file_for(host: Host, environment: Environment) -> Path:
    return Path(environment.expand_user((host.user_known_hosts_file or USER_FILES)[0]))


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    fd = os.open(path, flags, 0o600)
    with os.fdopen(fd, "r+b", buffering=0) as file:
        is_regular = stat.S_ISREG(os.fstat(fd).st_mode)
        fcntl.flock(file, fcntl.LOCK_EX)  # closing the file releases it
        # Many test machines use /dev/null, and other devices have no end.
        present = (file.readall() or b"") if is_regular else b""
        if line.strip() in (known.strip() for known in present.splitlines()):
            return
        if present and not present.endswith(b"\n"):
            line = b"\n" + line  # otherwise the last line and the new one would become one bad line
        written = file.write(line)
        if written != len(line):
            file.truncate(len(present))
            raise OSError(f"only {written} of {len(line)} bytes could be written")
        if is_regular:
            os.fsync(fd)


def read(host: Host, environment: Environment) -> Iterator[KnownKey]:
    """Every line of the files where keys of the host are looked up.

    Raises:
        Failure: timed-out, if reading one of them does not end.
    """
    for path in _paths(host, environment):
        for kept, policy in _unwritten.get(str(path), ()):
            if policy in (StrictHostKeyChecking.YES, host.strict_host_key_checking):
                yield kept
        try:
            text = files.read(path, _FILE_MAX).data.decode("utf-8", "replace")
        except FileNotFoundError:
            continue
        except files.FileSilent as error:  # it may revoke the key that the server presents
            raise file_silent(host, "the known_hosts file", path, reason(error)) from None
        except OSError as error:
            _log.warning("%s cannot be read: %s", path, error.strerror or error)
            continue
        yield from parse(text, str(path))


def unreadable(host: Host, environment: Environment) -> dict[Path, str]:
    """Why each existing file cannot be read, if it cannot: no key in it counts."""
    found = {}
    for path in _paths(host, environment):
        try:
            files.read(path, _FILE_MAX)
        except FileNotFoundError:
            continue
        except OSError as error:
            found[path] = reason(error)
    return found


def _paths(host: Host, environment: Environment) -> Iterator[Path]:
    users = host.user_known_hosts_file or USER_FILES
    for name in (*users, *(host.global_known_hosts_file or GLOBAL_FILES)):
        yield Path(environment.expand_user(name))


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
    """`|1|salt|hash`: HMAC-SHA1 of the name, with the salt as key (OpenSSH hostfile.c)."""
    parts = field.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in parts[2:])
    except ValueError:  # not base64, or not even ASCII
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
