"""Go's x/crypto/ssh, with the forwards that gliderlabs/ssh and what builds on it have."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.support.servers.base import PROGRAMS, Server, debian_version, missing_program, program

_LIBRARY = Path("/usr/share/gocode/src/golang.org/x/crypto/ssh")

# Kept over test runs, beside pytest's own cache.
_BUILDS = Path(__file__).parents[3] / ".pytest_cache" / "go_server"


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
        return [str(_build()), str(self.port), *files, self.user, self.password]


@functools.cache
def _build() -> Path:
    """The server's executable, built once for each text of its source."""
    source = PROGRAMS / "go_server.go"
    digest = hashlib.sha256(source.read_bytes() + GoServer.version().encode()).hexdigest()[:16]
    _BUILDS.mkdir(parents=True, exist_ok=True)
    built = _BUILDS / digest
    if not built.exists():
        # Others may build it at the same time: what is there is whole.
        fresh = _BUILDS / f"{digest}.{os.getpid()}"
        environment = {
            **os.environ,
            "GOPATH": "/usr/share/gocode",
            "GO111MODULE": "off",
            "GOFLAGS": "",
            "GOCACHE": str(_BUILDS / "cache"),
            "CGO_ENABLED": "0",
        }
        done = subprocess.run(
            [program("go"), "build", "-o", fresh, source],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        fresh.replace(built)
    return built
