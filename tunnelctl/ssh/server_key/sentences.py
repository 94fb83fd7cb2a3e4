"""The sentences about invalid and unknown server keys.

Owns the sentences: one function for each failure, named for what happened. Keys are given in the
form of messages: `ssh-ed25519 SHA256:…`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from tunnelctl.errors import Code, Fact, Failure, Hint, by_hand, edit
from tunnelctl.spec.host import Host
from tunnelctl.ssh.sentences import excerpt, label

_STOLEN = (
    "this may be an impostor with a stolen key: do not connect; ask the server's administrator"
)


def key_marked_revoked(host: Host, shown: str, place: str) -> Failure:
    """A line of known_hosts marks the key as @revoked."""
    return Failure(
        Code.HOST_KEY_CHANGED,
        f"the host key {shown} is marked @revoked in {place}",
        _STOLEN,
        subject=label(host),
    )


def authority_marked_revoked(host: Host, shown: str, place: str) -> Failure:
    """A line of known_hosts marks the authority of the server's certificate as @revoked."""
    return Failure(
        Code.HOST_KEY_CHANGED,
        f"the host certificate is signed by {shown}, which is marked @revoked in {place}",
        _STOLEN,
        subject=label(host),
    )


def key_revoked(host: Host, shown: str, file: str) -> Failure:
    """A file of `revoked_host_keys` contains the key."""
    return Failure(
        Code.HOST_KEY_CHANGED,
        f"the host key {shown} is revoked by {file}",
        _STOLEN,
        subject=label(host),
    )


def key_not_pinned(host: Host, shown: str, pins: Sequence[str]) -> Failure:
    """The profile accepts only other keys."""
    return Failure(
        Code.HOST_KEY_CHANGED,
        f"the host key is {shown}, but the profile pins {', '.join(pins)}",
        "ask the server's administrator; only if this key is right too, add it to host_key "
        "in the profile",
        subject=label(host),
    )


def key_changed(
    host: Host, shown: str, note: str, known: str, remove: Hint, trust: Hint
) -> Failure:
    """Another key is known for the host: `known` says which, and where. `note` is about the
    certificate. `remove` and `trust` put the new key in its place."""
    return Failure(
        Code.HOST_KEY_CHANGED,
        f"the host key has changed: it is {shown}{note}, and {known} is known",
        "this may be an impostor; go on only if you know that the key was changed",
        remove,
        trust,
        subject=label(host),
    )


def key_unknown(
    host: Host, shown: str, note: str, trust: Hint, facts: Sequence[str | Fact]
) -> Failure:
    """No key is known for the host. `facts` has the fingerprint of the key that it presents."""
    return Failure(
        Code.HOST_KEY_UNKNOWN,
        f"the host is not known; its host key is {shown}{note}",
        "compare the fingerprint with the one that the server's administrator gives you",
        trust,
        subject=label(host),
        facts=facts,
    )


def key_perhaps_in(failure: Failure, path: Path, why: str) -> Failure:
    """The key is not known, and a known_hosts file could not be read."""
    look = Hint("see why", f"ls -ld {shlex.quote(str(path))}")
    detail = f"{failure.detail}; {path}, which may have it, cannot be read: {why}"
    return failure.but(detail=detail, hints=(look, *failure.hints))


def key_not_kept(failure: Failure) -> Failure:
    """An accepted key could not be recorded, as `failure` says."""
    return failure.but(detail=f"{failure.detail}; until tunnelctl ends no other key is accepted")


def not_a_known_hosts_name(host: Host, name: str) -> Failure:
    """The name would not be read back as it is written."""
    return Failure(
        Code.CONFIG_INVALID,
        f"{name!r} cannot be written to known_hosts as a host name",
        edit("correct host_key_alias or hostname"),
        subject=label(host),
    )


def known_hosts_not_written(host: Host, path: Path, why: str) -> Failure:
    """The key cannot be appended."""
    return Failure(
        Code.PERMISSION_DENIED,
        f"cannot record its host key in {path}: {why}",
        "make the file writable, or set user_known_hosts_file to another",
        subject=label(host),
    )


def known_hosts_command_failed(host: Host, why: str) -> Failure:
    """The program that prints known keys."""
    program = excerpt(os.path.basename(host.known_hosts_command[0]))
    return Failure(
        Code.HANDSHAKE_FAILED,
        f"known_hosts_command {program} failed, so no host key is accepted: {why}",
        *by_hand(f"the known_hosts_command of {host.name}"),
        subject=label(host),
    )


def revoked_keys_unreadable(host: Host, path: Path, why: str) -> Failure:
    """The list of revoked keys cannot be checked."""
    return Failure(
        Code.KEY_UNREADABLE,
        f"cannot read revoked_host_keys {path}, so no host key is accepted: {why}",
        f"correct the file, or remove revoked_host_keys from hosts.{host.name} or ssh_config",
        subject=label(host),
    )


# --- what to do about the key that is known, and about the new one --------------------------


def trust_key(words: Sequence[str]) -> Hint:
    """The command that records the key; `words` are its arguments."""
    return Hint("to accept it", shlex.join(["tunnelctl", "trust", *words]))


def pin_key(host: Host, fingerprint: str) -> Hint:
    """No key is recorded, so the profile must contain it."""
    return Hint(
        f"to accept it, add host_key: {fingerprint} to hosts.{host.name} in the profile "
        f"(a user_known_hosts_file of {os.devnull} keeps no key)",
        edits_profile=True,
    )


def forget_key() -> Hint:
    """Only the daemon knows it."""
    return Hint("the old key is in the daemon's memory; to end that", "tunnelctl down --all")


def print_new_key(host: Host) -> Hint:
    """A program prints the old key."""
    return Hint(f"have known_hosts_command of hosts.{host.name} print the new key")


def remove_key(name: str, file: str) -> Hint:
    """It is in a line of its own, which may be hashed."""
    command = f"ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(file)}"
    return Hint("to remove the old key", command)


def remove_line(file: str, number: int) -> Hint:
    """It is known for a pattern."""
    return Hint(f"to remove the old key, delete line {number} of {file}")
