"""A user's ssh_config, and the two ways to read it: OpenSSH's client and our own reader."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.config.conftest import Folder
from tunnelctl.config.openssh.client import OpenSSHClient, home_of_record
from tunnelctl.config.openssh.keywords import RELEVANT
from tunnelctl.config.openssh.lines import read
from tunnelctl.config.openssh.reader import Asked, Options, options_for
from tunnelctl.config.openssh.tokens import Tokens
from tunnelctl.config.openssh.values import configured
from tunnelctl.config.openssh.written import as_written

ME = pwd.getpwuid(os.geteuid()).pw_name

SSH = shutil.which("ssh") or ""
needs_ssh = pytest.mark.skipif(not SSH, reason="OpenSSH's client is not installed")
WAYS = [
    pytest.param({"PATH": os.defpath + ":/usr/bin:/bin"}, marks=needs_ssh, id="client"),
    pytest.param({"PATH": "/nonexistent"}, id="own reader"),
]


def configure(folder: Folder, text: str) -> Path:
    """Write the user's ssh_config."""
    path = folder.home / ".ssh" / "config"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def ssh_says(path: Path, name: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    """The first value of each keyword that `ssh -G` prints; None where it refuses the file."""
    done = subprocess.run(
        [SSH, "-G", "-T", "-F", str(path), name],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        return None
    printed: dict[str, str] = {}
    for line in done.stdout.decode(errors="surrogateescape").split("\n"):
        keyword, _, value = line.partition(" ")
        printed.setdefault(keyword, value)
    return printed


def by_client(path: Path, asked: Asked, environ: Mapping[str, str], wrapper: str = "") -> Options:
    """What OpenSSH's client makes of a file, as it is used here; `wrapper` includes the file."""
    client = OpenSSHClient(SSH, ("-F", wrapper or str(path)), environ)
    printed = client.options(asked)
    ssh = Tokens(asked, printed, environ, home_of_record())
    said = configured(asked.name, printed, client.baseline())
    said = as_written(asked, said, client.baseline(), read([(str(path), True)], environ), ssh)
    return _relevant(said, asked)


def by_own_reader(path: Path, asked: Asked, environ: Mapping[str, str]) -> Options:
    """What our own reader makes of it."""
    return _relevant(options_for(asked, read([(str(path), True)], environ)), asked)


def _relevant(options: Options, asked: Asked) -> Options:
    """Without what is as if nobody had said it."""
    nothing = (("none",), ("0 0",))
    relevant = {key: v for key, v in options.items() if key in RELEVANT and v not in nothing}
    relevant.setdefault("hostname", (asked.name.lower(),))
    return relevant
