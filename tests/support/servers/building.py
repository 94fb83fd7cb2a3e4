"""Servers that must be compiled: each text of a program is built once, and kept over test runs."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers.base import PROGRAMS

# Beside pytest's own cache.
BUILDS = Path(__file__).parents[3] / ".pytest_cache" / "servers"


@functools.cache
def built(
    source: str,
    version: str,
    compiler: Sequence[str],
    libraries: Sequence[str] = (),
    environment: Sequence[tuple[str, str]] = (),
) -> Path:
    """The executable of a source in programs/: `compiler -o EXECUTABLE SOURCE libraries`.

    `version` is that of its library: another one has it built anew.
    """
    path = PROGRAMS / source
    digest = hashlib.sha256(path.read_bytes() + version.encode()).hexdigest()[:16]
    BUILDS.mkdir(parents=True, exist_ok=True)
    executable = BUILDS / f"{path.stem}.{digest}"
    if not executable.exists():
        # Others may build it at the same time: what is there is whole.
        fresh = BUILDS / f"{executable.name}.{os.getpid()}"
        done = subprocess.run(
            [*compiler, "-o", fresh, path, *libraries],
            env={**os.environ, **dict(environment)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        fresh.replace(executable)
    return executable
