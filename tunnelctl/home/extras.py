"""Packages that only an extra of ours installs, and the command that installs them.

Owns that command. Must never install anything.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile
from tunnelctl.spec.secret import SecretSource


def install_command(extra: str) -> str:
    """The command that installs an extra beside the running tunnelctl: with the pip of its own
    environment, else with pipx or uv, whose environments may have no pip. The Debian package, the
    single file and the image have all extras."""
    environment = Path(sys.prefix)
    if find_spec("pip") is not None:
        words = [sys.executable, "-m", "pip", "install"]
    elif (environment / "pipx_metadata.json").exists():
        words = ["pipx", "inject", environment.name]
    else:
        words = ["uv", "pip", "install", "--python", sys.executable]
    return shlex.join([*words, f"tunnelctl[{extra}]"])


def lacking(profile: Profile) -> Iterator[str]:
    """The extras that a profile needs and that are not installed here, each as a sentence with the
    command that installs it. Another machine may have them."""
    if any(map(_asks_keyring, profile.hosts)) and find_spec("keyring") is None:
        command = install_command("keyring")
        yield f"{{keyring: …}} needs the package keyring, which is not installed here ({command})"


def _asks_keyring(host: Host) -> bool:
    proxy = host.proxy.password if host.proxy is not None else None
    secrets = (host.password, host.passphrase, proxy)
    if any(ref is not None and ref.source is SecretSource.KEYRING for ref in secrets):
        return True
    return any(map(_asks_keyring, (*host.proxy_jump, *host.fallback)))
