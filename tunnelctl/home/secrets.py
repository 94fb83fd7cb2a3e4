"""Reads a secret from where it is kept, at the moment it is needed.

Owns the rules of each source. Never stores, logs or repeats a secret, not even in an error.
Blocking: to be called from a worker thread.
"""

from __future__ import annotations

import os
import stat
import sys
from importlib.util import find_spec

from tunnelctl.errors import printable, reason
from tunnelctl.home import sentences
from tunnelctl.home.extras import install_command
from tunnelctl.home.redaction import SECRETS
from tunnelctl.net import files
from tunnelctl.net.processes.command import CommandError, TookTooLong, output_of
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.secret import SecretRef, SecretSource

_MAX_BYTES = 4096
_COMMAND_SECONDS = 10.0
_KEYRING_SECONDS = 30.0  # a person may have to unlock it
_NO_ENTRY, _REFUSES = 3, 4  # exit statuses of the program below
# Prints the secret, or the kind of the error. It has the same modules as this process, and none
# that happens to be in the current folder.
_ASK_KEYRING = f"""
import sys
service, user, *sys.path = sys.argv[1:]
try:
    import keyring
    secret = keyring.get_password(service, user)
except BaseException as error:
    sys.stdout.write(type(error).__name__)
    sys.exit({_REFUSES})
if secret is None:
    sys.exit({_NO_ENTRY})
sys.stdout.buffer.write(secret.encode())
"""
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"


def resolve_secret(ref: SecretRef, environment: Environment) -> str:
    """The secret itself, without the line break at its end; logs hide it from now on.

    `environment` is that of the command that requested the profile; a secret's command and the
    process that reads a keyring run in it. A command is given at most 10 s and 4 KiB, and no
    terminal; its error output is dropped.

    Raises:
        Failure: SECRET_UNAVAILABLE, naming the reference.
    """
    if ref.source is SecretSource.ENV:
        secret = _from_variable(ref, environment)
    elif ref.source is SecretSource.FILE:
        secret = _decode(ref, _from_file(ref, ref.value[0], private=True))
    elif ref.source is SecretSource.CREDENTIAL:
        secret = _decode(ref, _from_credential(ref, environment))
    elif ref.source is SecretSource.COMMAND:
        secret = _decode(ref, _from_command(ref, environment))
    else:
        secret = _decode(ref, _from_keyring(ref, environment))
    if not secret:
        raise sentences.secret_empty(ref)
    SECRETS.add(secret)
    return secret


def _from_variable(ref: SecretRef, environment: Environment) -> str:
    name = ref.value[0]
    if name not in environment:
        raise sentences.variable_not_set(ref, name)
    return environment[name]


def _from_credential(ref: SecretRef, environment: Environment) -> bytes:
    folder = environment.get(CREDENTIALS_VARIABLE)
    if not folder:
        raise sentences.no_credentials_directory(ref, CREDENTIALS_VARIABLE)
    return _from_file(ref, os.path.join(folder, ref.value[0]), private=False)


def _from_file(ref: SecretRef, path: str, *, private: bool) -> bytes:
    """The content of a small regular file; `private`: one that is checked (see `_check_private`).

    A link is followed, because Kubernetes mounts every secret as one; the target is checked.
    """
    try:
        found = files.read(path, _MAX_BYTES, regular=True)
    except files.NotRegular:
        raise sentences.not_a_regular_file(ref, path) from None
    except files.TooLarge:
        raise sentences.secret_too_long(ref, _MAX_BYTES) from None
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "not a path"
        raise sentences.secret_file_unreadable(ref, path, why) from None
    if private:
        _check_private(ref, path, found.status)
    return found.data


def _check_private(ref: SecretRef, path: str, status: os.stat_result) -> None:
    """Check that no other user can read a file of ours, nor change one that root gave us.

    Root decides who may read its files: Kubernetes and swarm mount secrets with mode 0440 or 0444
    for a process that is not root (compare OpenSSH authfile.c, sshkey_perm_ok).
    """
    others = status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    if status.st_uid == os.geteuid():
        if others:
            raise sentences.secret_file_readable_by_others(ref, path)
    elif status.st_uid != 0:
        raise sentences.secret_file_of_another_user(ref, path)
    elif others & (stat.S_IWGRP | stat.S_IWOTH):
        raise sentences.secret_file_writable_by_others(ref, path)


def _from_command(ref: SecretRef, environment: Environment) -> bytes:
    try:
        status, printed = output_of(ref.value, environment, _MAX_BYTES, _COMMAND_SECONDS)
    except CommandError as error:
        raise sentences.secret_command_failed(ref, str(error)) from None
    if status != 0:
        raise sentences.secret_command_failed(ref, f"the command exited with {status}")
    return printed


def _from_keyring(ref: SecretRef, environment: Environment) -> bytes:
    """Read by a separate process: a keyring belongs to a login session, which is found by variables
    such as DBUS_SESSION_BUS_ADDRESS, and its packages read those of their process."""
    service, _, user = ref.value[0].rpartition("/")
    if find_spec("keyring") is None:
        raise sentences.no_keyring_package(ref, install_command("keyring"))
    words = (sys.executable, "-I", "-c", _ASK_KEYRING, service, user, *filter(None, sys.path))
    try:
        status, printed = output_of(words, environment, _MAX_BYTES, _KEYRING_SECONDS)
    except TookTooLong:
        raise sentences.keyring_silent(ref, _KEYRING_SECONDS) from None
    except CommandError as error:
        raise sentences.keyring_not_asked(ref, str(error)) from None
    if status == _NO_ENTRY:
        raise sentences.no_keyring_entry(ref, service, user)
    if status != 0:
        # Backends may raise any exception, and its text may come from anywhere.
        kind = printed.decode(errors="replace") if status == _REFUSES else f"exit {status}"
        raise sentences.keyring_refused(ref, printable(kind))
    return printed


def _decode(ref: SecretRef, raw: bytes) -> str:
    if len(raw) > _MAX_BYTES:
        raise sentences.secret_too_long(ref, _MAX_BYTES)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise sentences.secret_not_text(ref) from None
    return text.removesuffix("\n").removesuffix("\r")
