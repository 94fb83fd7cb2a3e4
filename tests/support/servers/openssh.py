"""OpenSSH's sshd as one server among others: the system's, or that of `base.ROOT`.

tests/support/sshd.py is the server that all other tests use.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from typing import ClassVar

from tests.support.servers.base import ROOT, Server, missing_accounts, with_accounts
from tests.support.sshd import require_sshd


class OpenSSHAnywhere(Server):
    """With passwords, and forwards of every kind."""

    name: ClassVar[str] = "OpenSSH"
    source: ClassVar[str] = "openssh-server (Debian)"

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        if not (ROOT / "usr/sbin/sshd").exists():
            require_sshd()
        return missing_accounts()

    @classmethod
    def version(cls) -> str:
        """See Server."""
        command = ["chroot", str(ROOT), "/usr/sbin/sshd", "-V"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        match = re.search(r"OpenSSH_([^\s,]+)", shown.stderr + shown.stdout)
        return match[1] if match else "?"

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
        separation = ROOT / "run/sshd"
        separation.mkdir(parents=True, mode=0o755, exist_ok=True)
        config = str(self.directory / "sshd_config")
        sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", config]
        return with_accounts(self.directory, sshd, ROOT)
