"""The machine and the versions of a run, so that a reader can judge its figures.

Must never identify the machine or its owner: no host name, user or path.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sysconfig
from pathlib import Path

from benchmarks.peers.base import Peer


def machine() -> dict[str, str]:
    """The date (UTC), the processor, the system and its load."""
    one, five, _ = os.getloadavg()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load before": f"{one:.2f} (1 min), {five:.2f} (5 min)",
        "interpreter": _interpreter(),
        "commit": _commit(),
    }


def versions(peers: list[Peer]) -> dict[str, str]:
    """The version of the measured programs and of their libraries."""
    found = {peer.name: peer.version() for peer in peers if peer.missing() is None}
    packages = {name: importlib.metadata.version(name) for name in ("paramiko", "cryptography")}
    return {**found, "Python": platform.python_version(), **packages}


def _interpreter() -> str:
    """Which Python this is, and whether it was optimized with a profile of itself (PGO)."""
    # In the options of `configure`, as Debian and the images of Docker have it, or in the flags.
    names = ("CONFIG_ARGS", "PY_CFLAGS", "PY_CORE_CFLAGS")
    words = " ".join(str(sysconfig.get_config_var(name)) for name in names)
    built = "--enable-optimizations" in words or "-fprofile-use" in words
    return (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"built {'with' if built else 'without'} PGO"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _commit() -> str:
    """The commit of this tree, with `+` if it was changed since; unknown without git."""
    if shutil.which("git") is None:
        return "unknown"
    git = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
