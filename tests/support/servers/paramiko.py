"""paramiko's server side, with the forwards that whoever uses it writes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar

from tests.support.servers.base import PROGRAMS, Server, missing_module, module_version


class ParamikoServer(Server):
    """The forwards are written as paramiko's demos write them: a thread each."""

    name: ClassVar[str] = "paramiko"
    source: ClassVar[str] = "paramiko (PyPI)"

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        return missing_module("paramiko")

    @classmethod
    def version(cls) -> str:
        """See Server."""
        return module_version("paramiko")

    def command(self) -> Sequence[str]:
        """See Server."""
        program = str(PROGRAMS / "paramiko_server.py")
        files = [str(self.host_key_file), str(self.authorized_keys)]
        return [sys.executable, program, str(self.port), *files, self.user, self.password]
