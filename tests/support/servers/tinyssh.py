"""TinySSH: ed25519 and chacha20-poly1305 alone, no forwards; a process for each connection."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import ClassVar

from tests.support.servers.base import (
    Server,
    debian_version,
    missing_accounts,
    missing_program,
    program,
    with_accounts,
)


class TinysshServer(Server):
    """Behind socat, which listens for it."""

    name: ClassVar[str] = "TinySSH"
    source: ClassVar[str] = "tinysshd (Debian)"
    forwards: ClassVar[bool] = False

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        return (
            missing_program("tinysshd", "tinysshd")
            or missing_program("socat", "socat")
            or missing_accounts()
        )

    @classmethod
    def version(cls) -> str:
        """See Server."""
        return debian_version("tinysshd")

    def prepare(self) -> None:
        """See Server."""
        keys = str(self.directory / "keys")
        made = [program("tinysshd-makekey"), "-q", keys]
        subprocess.run(made, capture_output=True, check=True)
        printed = subprocess.run(
            [program("tinysshd-printkey"), keys], capture_output=True, text=True, check=True
        )
        self.host_key = " ".join(printed.stdout.split()[:2])

    def command(self) -> Sequence[str]:
        """See Server."""
        listen = f"TCP-LISTEN:{self.port},bind=127.0.0.1,reuseaddr,fork"
        # socat drops what it has not passed on yet when its child fails.
        serve = f"SYSTEM:{program('tinysshd')} -v {self.directory / 'keys'} || true"
        socat = ["socat", listen, serve]
        return with_accounts(self.directory, socat)
