"""Certificates and their authority, made by ssh-keygen."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

from tests.support.keys import KeyKind, write_key


def ssh_keygen(*arguments: str) -> str:
    """Run ssh-keygen; its standard output."""
    program = shutil.which("ssh-keygen")
    assert program, "openssh-client is not installed"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Authority:
    """A certificate authority; `line` is its public key as `TYPE BASE64`."""

    def __init__(self, path: Path, kind: KeyKind = KeyKind.ED25519) -> None:
        self.path = path
        self.line = write_key(path, kind)

    @property
    def public(self) -> Path:
        """The file with its public key."""
        return self.path.with_name(self.path.name + ".pub")

    def sign(
        self, key: Path, *options: str, principals: str = "127.0.0.1", host: bool = True
    ) -> Path:
        """Certify the public half of `key`; returns the certificate, beside the key."""
        kind = ("-h",) if host else ()
        names = ("-n", principals) if principals else ()
        public = str(key.with_name(key.name + ".pub"))
        ssh_keygen("-q", "-s", str(self.path), "-I", "a test", *kind, *names, *options, public)
        return key.with_name(key.name + "-cert.pub")


def blob_of(path: Path) -> bytes:
    """The key or certificate in a public file, as SSH sends it."""
    return base64.b64decode(path.read_text().split()[1])
