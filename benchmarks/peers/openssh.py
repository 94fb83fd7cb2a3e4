"""The system's own client, alone and under autossh, which restarts it when it ends."""

from __future__ import annotations

import os
import shutil
import subprocess

from benchmarks.peers.base import ProcessPeer, Site
from tests.support.processes import descendants


class Ssh(ProcessPeer):
    """`ssh -N -L`, one process for each host; with the given cipher or its default."""

    def __init__(self, name: str, cipher: str | None = None) -> None:
        super().__init__(name)
        self._options = ["-c", cipher] if cipher else []

    def version(self) -> str:
        """See Peer."""
        return subprocess.run(
            ["ssh", "-V"], capture_output=True, text=True, check=True
        ).stderr.strip()

    def _launch(self, site: Site) -> None:
        for rules in self.ports.rules(site.targets):
            self._run(site, ["ssh", *self._options, *ssh_arguments(site, rules)])


class Autossh(ProcessPeer):
    """`autossh -M 0`: the cost of a program that restarts ssh."""

    def missing(self) -> str | None:
        """See Peer."""
        return None if shutil.which("autossh") else "not installed (apt-get install autossh)"

    def version(self) -> str:
        """See Peer."""
        return subprocess.run(
            ["autossh", "-V"], capture_output=True, text=True, check=True
        ).stdout.strip()

    @property
    def pids(self) -> tuple[int, ...]:
        """See Peer."""
        parents = super().pids
        return parents + tuple(child for parent in parents for child in descendants(parent))

    def _launch(self, site: Site) -> None:
        for rules in self.ports.rules(site.targets):
            self._run(
                site,
                ["autossh", "-M", "0", *ssh_arguments(site, rules)],
                {**os.environ, "AUTOSSH_GATETIME": "0"},
            )


def ssh_arguments(site: Site, rules: list[tuple[int, int]]) -> list[str]:
    """The arguments of `ssh` that open local forwards, without anybody's configuration."""
    options = {
        "BatchMode": "yes",
        "ExitOnForwardFailure": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": str(site.known_hosts),
        "GlobalKnownHostsFile": "none",
    }
    return [
        *("-F", "none", "-N", "-T", "-p", str(site.port), "-i", str(site.identity)),
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        *(word for here, there in rules for word in ("-L", f"127.0.0.1:{here}:127.0.0.1:{there}")),
        f"{site.user}@127.0.0.1",
    ]
