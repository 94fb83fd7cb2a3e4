"""Python's other ways to forward a port, each in a process of its own (run_*.py)."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import sys
from typing import Any

from benchmarks.peers.base import ProcessPeer, Site


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """The task of such a process, as the only argument of its command line."""

    port: int
    user: str
    identity: str
    known_hosts: str
    hosts: list[list[tuple[int, int]]]  # for each: pairs of a local port and a target's port

    @classmethod
    def from_argument(cls, text: str) -> Task:
        """The reverse of `as_argument`."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**fields)

    def as_argument(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self))


class PythonPeer(ProcessPeer):
    """A package that `benchmarks.peers.run_PACKAGE` can run."""

    def __init__(self, package: str, idle_connections: int | None = None) -> None:
        super().__init__(package)
        self._package = package
        if idle_connections is not None:
            self.idle_connections = idle_connections

    def missing(self) -> str | None:
        """See Peer."""
        if importlib.util.find_spec(self._package):
            return None
        return "not installed (pip install -e '.[bench]')"

    def version(self) -> str:
        """See Peer."""
        return importlib.metadata.version(self._package)

    def _launch(self, site: Site) -> None:
        task = Task(
            port=site.port,
            user=site.user,
            identity=str(site.identity),
            known_hosts=str(site.known_hosts),
            hosts=self.ports.rules(site.targets),
        )
        module = f"{__package__}.run_{self._package}"
        self._run(site, [sys.executable, "-m", module, task.as_argument()])
