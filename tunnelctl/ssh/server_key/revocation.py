"""`revoked_host_keys`: the keys and certificates that no host may use (ssh_config(5)).

Owns both formats of the file: public keys, one a line, and the lists of ssh-keygen(1), KEY
REVOCATION LISTS, which are checked by ssh-keygen itself. Blocking. Must never treat a file that
cannot be read as one that revokes nothing.
"""

from __future__ import annotations

import base64
import binascii
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunnelctl.errors import reason
from tunnelctl.net import files
from tunnelctl.net.processes.command import CommandError, output_of
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys.certificates import Certificate, is_certified
from tunnelctl.ssh.keys.key_files import key_type
from tunnelctl.ssh.sentences import file_silent
from tunnelctl.ssh.server_key import sentences

_LIST = b"SSHKRL\n\0"  # OpenSSH PROTOCOL.krl
_SECONDS = 10.0
_FILE_MAX = 16 << 20  # bytes
_MAX_BYTES = 64 * 1024


def is_revoked(host: Host, file: str, blob: bytes, environment: Environment) -> bool:
    """Whether `file` revokes the key or certificate `blob`, the key in it, or its authority.

    Raises:
        Failure: key-unreadable, if the file cannot be read, or is a list that ssh-keygen cannot
            check; timed-out, if reading it does not end.
    """
    path = Path(environment.expand_user(file))
    try:
        written = files.read(path, _FILE_MAX).data
    except files.FileSilent as error:
        raise file_silent(host, "revoked_host_keys", path, reason(error)) from None
    except OSError as error:
        raise sentences.revoked_keys_unreadable(host, path, error.strerror or str(error)) from None
    if written.startswith(_LIST):
        return _is_in_list(host, path, written, blob, environment)
    refused = {blob}
    if is_certified(key_type(blob)):
        certificate = Certificate.parse(blob)
        refused |= {certificate.key, certificate.authority}
    return any(key in refused for key in _keys(written))


def _keys(written: bytes) -> list[bytes]:
    """The keys of a file of public keys: `type base64 comment`, with or without options before
    it."""
    keys = []
    for line in written.splitlines():
        if line.lstrip().startswith(b"#"):
            continue
        for word in line.split():
            try:
                keys.append(base64.b64decode(word, validate=True))
            except binascii.Error:
                continue  # not the key, but its type or comment
    return keys


def _is_in_list(
    host: Host, path: Path, written: bytes, blob: bytes, environment: Environment
) -> bool:
    """Whether ssh-keygen finds `blob` in the list that was `written` at `path`."""
    program = shutil.which("ssh-keygen", path=environment.search_path)
    if program is None:
        raise sentences.revoked_keys_unreadable(
            host, path, "it is a key revocation list, and ssh-keygen is not installed"
        )
    line = f"{key_type(blob)} {base64.b64encode(blob).decode()}\n".encode()
    # A copy of the content that was read: a pipe delivers it only once, and the file may have
    # changed.
    with _temporary(line, ".pub") as shown, _temporary(written, ".krl") as known:
        words = (program, "-Q", "-f", known, shown)
        try:
            status, printed = output_of(words, environment, _MAX_BYTES, _SECONDS)
        except CommandError as error:
            raise sentences.revoked_keys_unreadable(host, path, str(error)) from None
    said = printed.rstrip()
    if status == 0 and said.endswith(b": ok"):
        return False
    if said.endswith(b": REVOKED"):
        return True
    raise sentences.revoked_keys_unreadable(host, path, f"ssh-keygen -Q exited with {status}")


@contextmanager
def _temporary(data: bytes, suffix: str) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="tunnelctl-", suffix=suffix) as file:
        file.write(data)
        file.flush()
        yield file.name
