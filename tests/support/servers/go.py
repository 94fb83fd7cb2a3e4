"""Go's x/crypto/ssh, with the forwards that gliderlabs/ssh and what builds on it have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.support.servers.base import Server, debian_version, missing_program, program
from tests.support.servers.building import BUILDS, built

_LIBRARY = Path("/usr/share/gocode/src/golang.org/x/crypto/ssh")
_ENVIRONMENT = (
    ("GOPATH", "/usr/share/gocode"),
    ("GO111MODULE", "off"),
    ("GOFLAGS", ""),
    ("GOCACHE", str(BUILDS / "go_cache")),
    ("CGO_ENABLED", "0"),
)


class GoServer(Server):
    """Each direction of a connection ends it whole with a CLOSE and no EOF, as there."""

    name: ClassVar[str] = "Go x/crypto"
    source: ClassVar[str] = "golang-go, golang-golang-x-crypto-dev (Debian)"

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        if not _LIBRARY.exists():
            package = "golang-golang-x-crypto-dev"
            return f"x/crypto/ssh is not installed (Debian: apt-get install {package})"
        return missing_program("go", "golang-go")

    @classmethod
    def version(cls) -> str:
        """See Server."""
        return debian_version("golang-golang-x-crypto-dev")

    def command(self) -> Sequence[str]:
        """See Server."""
        files = [str(self.host_key_file), str(self.authorized_keys)]
        build = (program("go"), "build")
        server = built("go_server.go", self.version(), build, environment=_ENVIRONMENT)
        return [str(server), str(self.port), *files, self.user, self.password]
