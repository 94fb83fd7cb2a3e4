"""asyncssh: a server in Python, with all of OpenSSH's kinds of forwards."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar

from tests.support.servers.base import PROGRAMS, Server, missing_module, module_version


class AsyncsshServer(Server):
    """Its own listeners and forwards."""

    name: ClassVar[str] = "asyncssh"
    source: ClassVar[str] = "asyncssh (PyPI)"

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        return missing_module("asyncssh")

    @classmethod
    def version(cls) -> str:
        """See Server."""
        return module_version("asyncssh")

    def command(self) -> Sequence[str]:
        """See Server."""
        program = str(PROGRAMS / "asyncssh_server.py")
        files = [str(self.host_key_file), str(self.authorized_keys)]
        return [sys.executable, program, str(self.port), *files, self.user, self.password]
