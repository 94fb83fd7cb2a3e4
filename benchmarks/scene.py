"""The environment of the peers: OpenSSH's server, a link with a long round trip, targets, load
workers.

Must never be shared by two runs, and leaves nothing behind.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from benchmarks.load import answers
from benchmarks.peers.base import PeerError, Site
from benchmarks.processes import allow_open_files
from benchmarks.targets import Targets
from tests.support.chaos import ChaosProxy
from tests.support.sshd import OpenSSHServer

ROUND_TRIP = 0.1  # seconds, of the link with a long round trip
_LOAD_WITHIN = 180.0  # seconds; the load has its own time limits, this one is for bugs in it

P = ParamSpec("P")
T = TypeVar("T")


class Scene:
    """A context manager; peers log in at `near` and `far`, which are the same server."""

    near: Site
    far: Site

    def __enter__(self) -> Self:
        allow_open_files()
        with ExitStack() as stack:
            directory = Path(tempfile.mkdtemp(prefix="tunnelctl-bench-"))
            stack.callback(shutil.rmtree, directory)
            # INFO is the default; tests use a more verbose level.
            self.server = OpenSSHServer(directory / "sshd", config=["LogLevel INFO"])
            self.server.start()
            stack.callback(self.server.stop)
            chaos = stack.enter_context(ChaosProxy(self.server.port))
            chaos.delay(ROUND_TRIP / 2)
            targets = stack.enter_context(Targets())
            known_hosts = directory / "known_hosts"
            known_hosts.write_text(
                "".join(
                    f"[127.0.0.1]:{port} {key}\n"
                    for port in (self.server.port, chaos.port)
                    for key in self.server.host_keys
                )
            )
            self.near, self.far = (
                Site(
                    port=port,
                    user=self.server.user,
                    identity=self.server.identity,
                    known_hosts=known_hosts,
                    targets=targets,
                    directory=directory,
                )
                for port in (self.server.port, chaos.port)
            )
            # Two: a load, and another at the same time.
            self._workers = stack.enter_context(
                ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
            )
            self.load(answers, targets.echo)  # the start of a worker must not be measured
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def begin(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a function of `load` in a worker process."""
        return self._workers.submit(work, *args, **kwargs)

    def load(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of `load` in a worker process.

        Raises:
            PeerError: a connection of the load failed.
        """
        return self.result(self.begin(work, *args, **kwargs))

    @staticmethod
    def result(future: Future[T]) -> T:
        """The result of a function that was begun.

        Raises:
            PeerError: a connection of the load failed.
        """
        try:
            return future.result(_LOAD_WITHIN)
        except BlockingIOError as error:
            raise PeerError("a connection fell silent") from error
        except OSError as error:
            raise PeerError(f"{error}") from error
