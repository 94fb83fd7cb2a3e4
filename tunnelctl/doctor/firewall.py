"""The packet filter of this machine, read and never touched.

Owns the reading of `nft list ruleset` and `iptables-save`; who may not read them gets no answer.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess

from tunnelctl.net.environment import minimal_environment
from tunnelctl.net.threads import in_thread

_COMMANDS = (("nft", "list", "ruleset"), ("iptables-save",), ("ip6tables-save",))
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_SECONDS = 3.0
_DROPS = re.compile(r"\b(drop|reject)\b", re.IGNORECASE)
_RULE_MAX = 120  # characters that are shown


async def dropping(port: int) -> str:
    """A rule that drops or rejects what goes to a TCP port, as it stands there; empty for none."""
    return await in_thread(lambda: _find(port), "read the firewall")


def find(port: int, rules: str) -> str:
    """The first rule of a listing that names the port and drops it; empty for none."""
    names_port = re.compile(rf"dports?\s(?:[{{\s\d,-]*[{{\s,])?{port}\b")
    for line in rules.splitlines():
        if _DROPS.search(line) and names_port.search(line):
            return line.strip()[:_RULE_MAX]
    return ""


def _find(port: int) -> str:
    return next(filter(None, (find(port, _listing(words)) for words in _COMMANDS)), "")


def _listing(words: tuple[str, ...]) -> str:
    program = shutil.which(words[0], path=_PATH)
    if program is None:
        return ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(  # noqa: S603 - our own words, no shell
            (program, *words[1:]),
            env=minimal_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        ).stdout
    return ""
