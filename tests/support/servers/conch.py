"""Twisted Conch: its own server for unix users, on a machine without them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar

from tests.support.servers.base import PROGRAMS, Server, missing_module, module_version


class ConchServer(Server):
    """twisted.conch.unix, whose user is nobody of the system."""

    options: ClassVar[Sequence[str]] = ()

    name: ClassVar[str] = "Twisted Conch"
    source: ClassVar[str] = "twisted[conch] (PyPI)"

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        return missing_module("twisted")

    @classmethod
    def version(cls) -> str:
        """See Server."""
        return module_version("twisted")

    def command(self) -> Sequence[str]:
        """See Server."""
        program = str(PROGRAMS / "conch_server.py")
        files = [str(self.host_key_file), str(self.authorized_keys)]
        return [
            sys.executable,
            program,
            str(self.port),
            *files,
            self.user,
            self.password,
            *self.options,
        ]
