"""libssh: a server of our own on it, as the library brings none to be run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.support.servers.base import Server, debian_version, missing_program, program
from tests.support.servers.building import built

_HEADER = Path("/usr/include/libssh/server.h")


class LibsshServer(Server):
    """The library's own answers: keys, refusals, requests unknown to it."""

    name: ClassVar[str] = "libssh"
    source: ClassVar[str] = "gcc, libssh-dev (Debian)"

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        if not _HEADER.exists():
            return "libssh is not installed (Debian: apt-get install libssh-dev)"
        return missing_program("gcc", "gcc libc6-dev")

    @classmethod
    def version(cls) -> str:
        """See Server."""
        return debian_version("libssh-dev")

    def command(self) -> Sequence[str]:
        """See Server."""
        compiler = (program("gcc"), "-O1", "-Wall", "-Wextra", "-Werror")
        server = built("libssh_server.c", self.version(), compiler, libraries=("-lssh",))
        files = [str(self.host_key_file), str(self.authorized_keys)]
        return [str(server), str(self.port), *files, self.user, self.password]
