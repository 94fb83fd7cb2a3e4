"""Host keys: whether the key that a server presents is the one that is known for it.

Owns the verdict. The rules are OpenSSH's (sshconnect.c, check_host_key): a revoked key is always
refused, pins replace known_hosts, a certificate counts if its authority is known for the host, and
a certificate that does not count is treated as the plain key inside it. Must never accept a key
that nothing vouches for.

If several keys are known and the server presents none of them, its key has changed, whatever its
type (OpenSSH hostfile.c): otherwise an attacker would only have to offer a type that was never
seen.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from tunnelctl import clock
from tunnelctl.errors import PLACE, Code, Fact, Failure, Hint
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import bracketed
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host, StrictHostKeyChecking
from tunnelctl.ssh.keys.certificates import Certificate, fingerprint, is_certified, plain_key
from tunnelctl.ssh.keys.key_files import key_type
from tunnelctl.ssh.milestones import Warn, logged
from tunnelctl.ssh.questions import Ask, Question, QuestionKind
from tunnelctl.ssh.sentences import excerpt, label
from tunnelctl.ssh.server_key import known_hosts, sentences
from tunnelctl.ssh.server_key.known_hosts import CERT_AUTHORITY, REVOKED, KnownKey
from tunnelctl.ssh.server_key.known_hosts_command import PRINTED, printed_about
from tunnelctl.ssh.server_key.revocation import is_revoked

_log = logging.getLogger(__name__)

_DEFAULT_PORT = 22


def verify(
    host: Host,
    blob: bytes,
    environment: Environment,
    ask: Ask | None = None,
    warn: Warn = logged,
) -> None:
    """Accept the key or certificate that `host` presents, or raise.

    With `accept-new`, the key of a host without any known key is recorded; otherwise a person is
    asked, if one is available. If the key cannot be recorded, `warn` is called, and only this
    process knows it.

    Raises:
        Failure: host-key-unknown, host-key-changed (also for a revoked key), or key-unreadable if
            a file of revoked keys cannot be read; see also known_hosts_command.
    """
    about = _lines_about(host, blob, environment)
    shown = _Shown(plain_key(blob))
    if is_certified(key_type(blob)):
        shown = _examined(host, about, Certificate.parse(blob))
    _refuse_revoked(host, about, shown)
    for file in host.revoked_host_keys:
        if is_revoked(host, file, blob, environment):
            raise sentences.key_revoked(host, str(shown), file)
    if host.host_key:
        if shown.fingerprint not in _pins(host):
            raise sentences.key_not_pinned(host, str(shown), host.host_key)
        return
    known = [key for key in about if not key.marker]
    if shown.is_vouched_for or any(key.blob == shown.key for key in known):
        return
    named = [key for key in known if key.matches(known_hosts.name_of(host))]
    if named:
        raise _changed(host, shown, named)
    if host.strict_host_key_checking is not StrictHostKeyChecking.ACCEPT_NEW:
        _ask_about(host, shown, _unknown(host, shown, about, environment), ask)
    _keep(host, shown.key, environment, warn)


@dataclass(frozen=True, slots=True)
class Known:
    """The recorded keys and authorities of a host, before it has presented a key."""

    key_types: tuple[str, ...]
    # Whether a certificate could vouch for it: an authority is known, and no key is pinned.
    has_authority: bool


def known_for(host: Host, environment: Environment) -> Known:
    """The types of the keys that are known for `host`, to be offered first in the key exchange.

    Without this order a server with several keys could present one of a type that is not known,
    which would look like a changed key (OpenSSH sshconnect2.c, order_hostkeyalgs). A program that
    fails here only leaves the order incomplete; `verify` runs it again, and there a failure counts.

    Raises:
        Failure: config-invalid, see known_hosts_command.
    """
    try:
        about = _lines_about(host, None, environment)
    except Failure as failure:
        if failure.code is not Code.HANDSHAKE_FAILED:
            raise
        _log.info("%s", failure.message)
        about = known_hosts.lines_about(host, environment)
    known = [key for key in about if not key.marker]
    if host.host_key:
        pins = _pins(host)
        known = [key for key in known if fingerprint(key.blob) in pins]
    has_authority = any(key.marker == CERT_AUTHORITY for key in about)
    types = tuple(dict.fromkeys(key.key_type for key in known))
    return Known(types, has_authority and not host.host_key)


def _lines_about(host: Host, shown: bytes | None, environment: Environment) -> list[KnownKey]:
    """The lines of the files, then those that the host's program prints.

    As in OpenSSH, the program is asked about the name without the port only if it printed nothing
    for the name with it.
    """
    about = known_hosts.lines_about(host, environment)
    if not host.known_hosts_command:
        return about
    names = known_hosts.names_of(host)
    for name in names:
        said = fingerprint(shown) if shown else ""
        printed = printed_about(host, name, shown, said, environment)
        lines = known_hosts.parse(printed, PRINTED)
        found = [key for key in lines if any(key.matches(each) for each in names)]
        if found:
            return about + found
    return about


def record(host: Host, blob: bytes, environment: Environment) -> Path:
    """Append the key (for a certificate, the plain one) to known_hosts; returns the file.

    Raises:
        Failure: see known_hosts.append.
    """
    key = plain_key(blob)
    return known_hosts.append(host, key_type(key), key, environment)


def _keep(host: Host, key: bytes, environment: Environment, warn: Warn) -> None:
    """Record an accepted key if possible; if not, warn and connect, as ssh(1) does."""
    try:
        record(host, key, environment)
    except Failure as failure:
        if failure.code is not Code.PERMISSION_DENIED:
            raise
        known_hosts.keep_in_memory(host, key_type(key), key, environment)
        warn(host, sentences.key_not_kept(failure))


def keeps_keys(host: Host) -> bool:
    """Whether a recorded key can be found again: many an ssh_config has /dev/null."""
    return host.user_known_hosts_file[:1] != (os.devnull,)


def trust_hint(host: Host, blob: bytes) -> Hint:
    """The command that records exactly this key where it is looked up.

    A host behind a hop, a program or a proxy is named by its place in the profile, which knows the
    way. If keys are not kept, no command would help, and the hint is to pin the key.
    """
    shown = fingerprint(blob)
    if not keeps_keys(host):
        return sentences.pin_key(host, shown)
    if host.proxy_jump or host.proxy_command or host.proxy:
        return sentences.trust_key([PLACE, "--fingerprint", shown])
    name = bracketed(host.hostname)
    words = [name if host.port == _DEFAULT_PORT else f"{name}:{host.port}", "--fingerprint", shown]
    if host.host_key_alias is not None:
        words += ["--host-key-alias", host.host_key_alias]
    if host.user_known_hosts_file:
        words += ["--known-hosts", host.user_known_hosts_file[0]]
    return sentences.trust_key(words)


@dataclass(frozen=True, slots=True)
class _Shown:
    """The key that the server presents, and the result of checking its certificate."""

    key: bytes
    authority: bytes = b""  # the authority that signed the certificate; empty without one
    flaw: str = ""  # why the certificate does not count
    is_out_of_date: bool = False  # whether the flaw is its validity period

    @property
    def is_vouched_for(self) -> bool:
        return bool(self.authority) and not self.flaw

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)

    def __str__(self) -> str:
        return _written(self.key)

    @property
    def note(self) -> str:
        """A remark for a message about the plain key."""
        return f" (its certificate is not accepted: {excerpt(self.flaw)})" if self.flaw else ""


def _examined(host: Host, about: Sequence[KnownKey], certificate: Certificate) -> _Shown:
    name = (host.hostname if host.host_key_alias is None else host.host_key_alias).lower()
    authorities = [key.blob for key in about if key.marker == CERT_AUTHORITY]
    if certificate.authority not in authorities:
        flaw = f"signed by {fingerprint(certificate.authority)}, which is not a known authority"
        return _Shown(certificate.key, certificate.authority, flaw)
    now = clock.wall().timestamp()
    flaw = certificate.flaw(name, now)
    is_out_of_date = bool(flaw) and flaw == certificate.out_of_date(now)
    return _Shown(certificate.key, certificate.authority, flaw, is_out_of_date)


def _pins(host: Host) -> frozenset[str]:
    """Pins may be written with the base64 padding that ssh-keygen leaves out."""
    return frozenset(pin.rstrip("=") for pin in host.host_key)


# --- verdicts ------------------------------------------------------------------------------


def _refuse_revoked(host: Host, about: Sequence[KnownKey], shown: _Shown) -> None:
    for key in about:
        if key.marker == REVOKED and key.blob in (shown.key, shown.authority):
            is_key = key.blob == shown.key
            revoked = sentences.key_marked_revoked if is_key else sentences.authority_marked_revoked
            raise revoked(host, _written(key.blob), f"{key.file}:{key.line}")


def _written(blob: bytes) -> str:
    return f"{key_type(blob)} {fingerprint(blob)}"


def _changed(host: Host, shown: _Shown, known: Sequence[KnownKey]) -> Failure:
    kind = key_type(shown.key)
    old = next((key for key in known if key.key_type == kind), known[0])
    name = known_hosts.name_of(host)
    if old.file == known_hosts.IN_MEMORY:
        remove = sentences.forget_key()
    elif old.file == PRINTED:
        remove = sentences.print_new_key(host)
    elif old.patterns.startswith("|") or name in old.patterns.lower().split(","):
        remove = sentences.remove_key(name, old.file)
    else:  # a wildcard, which ssh-keygen -R does not remove
        remove = sentences.remove_line(old.file, old.line)
    known_key = f"{_written(old.blob)} in {old.place}"
    trust = trust_hint(host, shown.key)
    return sentences.key_changed(host, str(shown), shown.note, known_key, remove, trust)


def _unknown(
    host: Host, shown: _Shown, about: Sequence[KnownKey], environment: Environment
) -> Failure:
    note = shown.note
    if not shown.authority and any(key.marker == CERT_AUTHORITY for key in about):
        note = " and no certificate of the authority that is known for it"
    facts = (shown.fingerprint, *([Fact.OUT_OF_DATE] if shown.is_out_of_date else []))
    trust = trust_hint(host, shown.key)
    failure = sentences.key_unknown(host, str(shown), note, trust, facts)
    for path, why in known_hosts.unreadable(host, environment).items():
        failure = sentences.key_perhaps_in(failure, path, why)
    return failure


def _ask_about(host: Host, shown: _Shown, failure: Failure, ask: Ask | None) -> None:
    """Returns when a person accepts the key, with yes or by typing its fingerprint (ssh(1))."""
    prompt = f"{label(host)} is not known; its host key is {shown}{shown.note}. Trust it?"
    question = Question(QuestionKind.HOST_KEY, host.name, f"{prompt} (yes/no/fingerprint) ", True)
    answer = None if ask is None else ask(question)
    if answer is None or answer.strip() not in ("yes", shown.fingerprint):
        raise failure
