"""OpenSSH's sshd as one server among others: the system's, or that of another system's folder.

`TUNNELCTL_INTEROP_SSHD_ROOT` names a folder with another system in it (debootstrap(8)), whose sshd
runs instead. tests/support/sshd.py is the server that all other tests use.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.support.servers.base import Server, missing_accounts, with_accounts
from tests.support.sshd import require_sshd

ROOT = "TUNNELCTL_INTEROP_SSHD_ROOT"


class OpenSSHAnywhere(Server):
    """With passwords, and forwards of every kind."""

    name: ClassVar[str] = "OpenSSH"
    source: ClassVar[str] = "openssh-server (Debian)"

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        if not (cls._root() / "usr/sbin/sshd").exists():
            require_sshd()
        return missing_accounts()

    @classmethod
    def version(cls) -> str:
        """See Server."""
        command = ["chroot", str(cls._root()), "/usr/sbin/sshd", "-V"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        match = re.search(r"OpenSSH_(\S+?),", shown.stderr + shown.stdout)
        return match[1] if match else "?"

    @staticmethod
    def _root() -> Path:
        return Path(os.environ.get(ROOT, "/"))

    def prepare(self) -> None:
        """See Server."""
        super().prepare()
        (self.directory / "sshd_config").write_text(
            f"Port {self.port}\n"
            "ListenAddress 127.0.0.1\n"
            f"HostKey {self.host_key_file}\n"
            f"AuthorizedKeysFile {self.authorized_keys}\n"
            "PidFile none\n"
            "StrictModes no\n"
            "UsePAM no\n"
            "PermitRootLogin yes\n"
            "PasswordAuthentication yes\n"
            "MaxStartups 1000\n"
        )

    def command(self) -> Sequence[str]:
        """See Server."""
        separation = self._root() / "run/sshd"
        separation.mkdir(parents=True, mode=0o755, exist_ok=True)
        config = str(self.directory / "sshd_config")
        sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", config]
        return with_accounts(self.directory, sshd, self._root())
