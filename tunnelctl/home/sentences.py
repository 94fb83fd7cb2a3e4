"""The failures of secrets and of our own folders, in words.

Owns the sentences: one function for each failure, named for what happened. Must never quote a
secret or part of one.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from tunnelctl.errors import Code, Failure, Hint, by_hand
from tunnelctl.spec.secret import SecretRef


def _no_secret(ref: SecretRef, why: str, *hints: Hint | str) -> Failure:
    return Failure(Code.SECRET_UNAVAILABLE, f"cannot get the secret {ref}: {why}", *hints)


def secret_empty(ref: SecretRef) -> Failure:
    """The secret is empty."""
    return _no_secret(ref, "it is empty")


def secret_too_long(ref: SecretRef, limit: int) -> Failure:
    """The secret has more than `limit` bytes."""
    return _no_secret(ref, f"it is longer than {limit} bytes")


def secret_not_text(ref: SecretRef) -> Failure:
    """The secret cannot be decoded."""
    return _no_secret(ref, "it is not UTF-8 text")


def variable_not_set(ref: SecretRef, name: str) -> Failure:
    """The caller's environment does not have the variable."""
    return _no_secret(ref, "the variable is not set", Hint("", f"export {name}, then up again"))


def no_credentials_directory(ref: SecretRef, variable: str) -> Failure:
    """The service manager gave this process no credentials."""
    return _no_secret(
        ref, f"${variable} is not set", "start the daemon from a unit with LoadCredential="
    )


def not_a_regular_file(ref: SecretRef, path: str) -> Failure:
    """A folder, a pipe or a device."""
    return _no_secret(ref, f"{path} is not a regular file")


def secret_file_unreadable(ref: SecretRef, path: str, why: str) -> Failure:
    """The file cannot be opened."""
    return _no_secret(ref, f"cannot open {path}: {why}")


def secret_file_readable_by_others(ref: SecretRef, path: str) -> Failure:
    """Other users can read a file of ours."""
    chmod = Hint("", f"chmod 600 {shlex.quote(path)}")
    return _no_secret(ref, f"other users can read {path}", chmod)


def secret_file_of_another_user(ref: SecretRef, path: str) -> Failure:
    """The file belongs neither to us nor to root."""
    chown = Hint("", f"chown $USER {shlex.quote(path)}")
    return _no_secret(ref, f"{path} belongs to another user", chown)


def secret_file_writable_by_others(ref: SecretRef, path: str) -> Failure:
    """Other users can change a file of root's."""
    return _no_secret(
        ref, f"other users can change {path}", Hint("as root", f"chmod go-w {shlex.quote(path)}")
    )


def secret_command_failed(ref: SecretRef, why: str) -> Failure:
    """The program cannot be run, or its exit status is not 0."""
    return _no_secret(ref, why, *by_hand("the command"))


def no_keyring_package(ref: SecretRef, install: str) -> Failure:
    """An extra of ours is not installed."""
    return _no_secret(ref, "the package keyring is not installed", Hint("", install))


def keyring_silent(ref: SecretRef, seconds: float) -> Failure:
    """The keyring may wait for a person to unlock it."""
    return _no_secret(
        ref, f"no answer from the keyring within {seconds:g} s", "unlock it, then up again"
    )


def keyring_not_asked(ref: SecretRef, why: str) -> Failure:
    """The process that reads the keyring cannot be run."""
    return _no_secret(ref, why)


def no_keyring_entry(ref: SecretRef, service: str, user: str) -> Failure:
    """The keyring answers, but does not have it."""
    return _no_secret(
        ref,
        "the keyring of this login session has no such entry",
        Hint("", shlex.join(("keyring", "set", service, user))),
    )


def keyring_refused(ref: SecretRef, kind: str) -> Failure:
    """Its backend raised an error of this kind."""
    return _no_secret(
        ref,
        f"the keyring refused: {kind}",
        Hint("for details", "keyring diagnose"),
        "run tunnelctl up in the login session that has it",
    )


def socket_path_too_long(path: Path, length: int, limit: int, variable: str) -> Failure:
    """The control socket cannot be bound there (unix(7))."""
    return Failure(
        Code.USAGE,
        f"the path of the control socket has {length} bytes, the limit is {limit}: {path}",
        f"set {variable} to a shorter path",
    )
