"""Dropbear: the server of OpenWrt and of many small machines."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.support.servers.base import (
    ROOT,
    Server,
    missing_accounts,
    missing_program,
    with_accounts,
)

_DROPBEAR = "/usr/sbin/dropbear"


class DropbearServer(Server):
    """With `-a`, as whoever wants remote forwards off loopback runs it."""

    address: ClassVar[str] = "127.0.0.1"
    options: ClassVar[Sequence[str]] = ("-a",)

    name: ClassVar[str] = "Dropbear"
    source: ClassVar[str] = "dropbear-bin (Debian)"

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        if Path("/") != ROOT and not (ROOT / _DROPBEAR[1:]).exists():
            return f"{ROOT} has no Dropbear"
        return missing_program("dropbear", "dropbear-bin") or missing_accounts()

    @classmethod
    def version(cls) -> str:
        """See Server."""
        command = ["chroot", str(ROOT), _DROPBEAR, "-V"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        match = re.search(r"v(\S+)", shown.stderr + shown.stdout)
        return match[1] if match else "?"

    def prepare(self) -> None:
        """See Server."""
        super().prepare()
        subprocess.run(
            ["dropbearconvert", "openssh", "dropbear", self.host_key_file, self._key],
            capture_output=True,
            check=True,
        )

    @property
    def _key(self) -> str:
        return str(self.directory / "dropbear_key")

    def command(self) -> Sequence[str]:
        """See Server."""
        listen = ["-p", f"{self.address}:{self.port}", "-P", str(self.directory / "pid")]
        dropbear = [_DROPBEAR, "-F", "-E", "-r", self._key, *self.options, *listen]
        return with_accounts(self.directory, dropbear, ROOT)


class WideDropbear(DropbearServer):
    """At an address that is not where a narrow listener is."""

    address = "127.0.0.2"


class NarrowDropbear(WideDropbear):
    """As it is when nobody says otherwise."""

    options = ()
