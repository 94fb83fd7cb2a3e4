"""The common part of all peers: forwards to the targets, their processes, and an orderly end.

Must never leave a process behind, even after a failure.
"""

from __future__ import annotations

import contextlib
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.load import answers
from benchmarks.targets import TargetPorts
from tests.support.ports import free_port
from tests.support.waiting import eventually

READY_WITHIN = 120.0  # seconds for all hosts of a peer; two cores do about 20 logins a second
_ENDS_WITHIN = 10.0
_LOG_SHOWN = 500  # characters of a peer's own output in a failure


class PeerError(Exception):
    """A peer failed; the text gives the reason in one line."""


@dataclass(frozen=True, slots=True)
class Site:
    """The server that a peer logs in to, and the targets of its forwards.

    `directory` is for its own files.
    """

    port: int
    user: str
    identity: Path
    known_hosts: Path
    targets: TargetPorts
    directory: Path


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a peer: `bulk` and `echo[0]` on its first host, `echo[n]` on the others."""

    bulk: int
    echo: tuple[int, ...]

    def rules(self, targets: TargetPorts) -> list[list[tuple[int, int]]]:
        """For each host, the forwards as pairs of a local port and a target's port."""
        rules = [[(port, targets.echo)] for port in self.echo]
        rules[0].append((self.bulk, targets.bulk))
        return rules


class Peer(ABC):
    """A program that can be started and stopped repeatedly.

    `idle_connections` is how many it can hold at the same time.
    """

    idle_connections = 1_000_000

    def __init__(self, name: str) -> None:
        self.name = name
        self.ports = Ports(0, ())

    def missing(self) -> str | None:
        """The reason why it cannot be measured here; None if it can."""
        return None

    @abstractmethod
    def version(self) -> str:
        """The version that it prints."""

    @property
    @abstractmethod
    def pids(self) -> tuple[int, ...]:
        """The processes that do its work; none for the direct path."""

    def start(self, site: Site, hosts: int = 1) -> None:
        """Log in `hosts` times, and return when every forward carries bytes.

        Raises:
            PeerError: it does not; nothing of it is left.
        """
        self.ports = Ports(free_port(), tuple(free_port() for _ in range(hosts)))
        try:
            self._launch(site)
            for port in self.ports.echo:
                eventually(partial(answers, port), f"port {port} answers", READY_WITHIN)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            said = self.said()
            self.stop()
            raise PeerError(f"{self.name} did not start: {error} {said}".strip()) from error
        except BaseException:
            self.stop()
            raise

    @abstractmethod
    def stop(self) -> None:
        """Stop it; no effect if it does not run.

        Raises:
            PeerError: it had to be killed.
        """

    @abstractmethod
    def said(self) -> str:
        """The end of its own output, for failures."""

    @abstractmethod
    def _launch(self, site: Site) -> None:
        """Start it; it may not be ready yet."""


class Direct(Peer):
    """No tunnel: the limit of the load and the targets themselves."""

    def version(self) -> str:
        """See Peer."""
        return "loopback"

    @property
    def pids(self) -> tuple[int, ...]:
        """See Peer."""
        return ()

    def stop(self) -> None:
        """See Peer."""

    def said(self) -> str:
        """See Peer."""
        return ""

    def _launch(self, site: Site) -> None:
        self.ports = Ports(site.targets.bulk, (site.targets.echo,))


class ProcessPeer(Peer):
    """A peer that is one or more child processes, which end on SIGTERM."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log: Path | None = None

    @property
    def pids(self) -> tuple[int, ...]:
        """See Peer."""
        return tuple(process.pid for process in self._processes)

    def stop(self) -> None:
        """See Peer."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def said(self) -> str:
        """See Peer."""
        return last_words(self._log)

    def _run(
        self, site: Site, command: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> None:
        self._log = site.directory / f"{self.name.replace(' ', '-')}.log"
        with self._log.open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ
                )
            )


def last_words(log: Path | None) -> str:
    """The end of a log, in one line."""
    if log is None:
        return ""
    with contextlib.suppress(OSError):
        return " ".join(log.read_text(errors="replace").split())[-_LOG_SHOWN:]
    return ""
