"""ProFTPD with mod_sftp: an SSH server for files alone, without forwards."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.support.servers.base import (
    Server,
    debian_version,
    missing_accounts,
    missing_program,
    program,
    with_accounts,
)


class ProftpdServer(Server):
    """The modules come from proftpd-mod-crypto; its keys are in the form of RFC 4716."""

    name: ClassVar[str] = "ProFTPD mod_sftp"
    source: ClassVar[str] = "proftpd-core, proftpd-mod-crypto (Debian)"
    forwards: ClassVar[bool] = False

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        if not any(Path("/usr/lib").glob("**/proftpd/mod_sftp.so")):
            return "mod_sftp is not installed (Debian: apt-get install proftpd-mod-crypto)"
        return missing_program("proftpd", "proftpd-core") or missing_accounts()

    @classmethod
    def version(cls) -> str:
        """See Server."""
        return debian_version("proftpd-mod-crypto")

    def prepare(self) -> None:
        """See Server."""
        super().prepare()
        keys = self.directory / "client_keys"
        keys.write_text("".join(map(_rfc4716, self.identities.values())))
        (self.directory / "proftpd.conf").write_text(
            "LoadModule mod_sftp.c\n"
            "ServerType standalone\n"
            "DefaultAddress 127.0.0.1\n"
            "UseIPv6 off\n"
            f"Port {self.port}\n"
            f"User {self.user}\n"
            "Group root\n"
            "RootLogin on\n"
            "RequireValidShell off\n"
            "UseFtpUsers off\n"
            "AuthPAM off\n"
            "WtmpLog off\n"
            f"PidFile {self.directory}/pid\n"
            f"ScoreboardFile {self.directory}/scoreboard\n"
            "SFTPEngine on\n"
            f"SFTPLog {self.directory}/sftp.log\n"
            f"SFTPHostKey {self.host_key_file}\n"
            f"SFTPAuthorizedUserKeys file:{keys}\n"
        )

    def command(self) -> Sequence[str]:
        """See Server."""
        proftpd = [program("proftpd"), "-n", "-q", "-c", str(self.directory / "proftpd.conf")]
        return with_accounts(self.directory, proftpd)


def _rfc4716(identity: Path) -> str:
    command = ["ssh-keygen", "-e", "-f", f"{identity}.pub"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
