"""Real etcd members, private to a test: own ports, own data, own cluster.

Each member is reached through a proxy that can be turned (tests/support/chaos.py), as are its ways
to the others. Must never use the machine's etcd.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.waiting import eventually

_ANSWERS_WITHIN = 2.0  # seconds


def require_etcd() -> str:
    """The path of etcd; skips the test without it."""
    path = shutil.which("etcd")
    if path is None:
        pytest.skip("etcd is not installed (Debian: apt-get install etcd-server)")
    return path


class Member:
    """One member of a cluster. `url` is where clients reach it."""

    def __init__(
        self, name: str, directory: Path, options: Sequence[str], tls: ssl.SSLContext | None
    ) -> None:
        self.name = name
        self._tls = tls
        self.port = free_port()
        self.peer_port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.peer_url = f"http://127.0.0.1:{self.peer_port}"
        self._directory = directory
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str) -> None:
        """Start it, or start it again; nothing if it runs."""
        if self._process is not None:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    require_etcd(),
                    f"--name={self.name}",
                    f"--data-dir={self._directory / 'data'}",
                    f"--listen-client-urls={self.url}",
                    f"--advertise-client-urls={self.url}",
                    f"--listen-peer-urls={self.peer_url}",
                    f"--initial-advertise-peer-urls={self.peer_url}",
                    f"--initial-cluster={cluster}",
                    "--unsafe-no-fsync",
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                env={"PATH": os.environ.get("PATH", ""), "ETCD_UNSUPPORTED_ARCH": "arm64"},
            )

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request to this member. Raises OSError."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            answer = urllib.request.urlopen(request, timeout=_ANSWERS_WITHIN, context=self._tls)
        except urllib.error.HTTPError as error:
            error.close()  # it is the answer too, and has the socket
            raise
        with answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def status(self) -> dict[str, Any]:
        """What it says of itself. Raises OSError."""
        return self.post("/v3/maintenance/status", {})

    @property
    def is_leader(self) -> bool:
        """Whether it says that it leads."""
        with contextlib.suppress(OSError):
            status = self.status()
            return bool(status.get("leader") == status["header"]["member_id"])
        return False


class Cluster:
    """Three members, or as many as asked for, with these `options`. `tls` is how a test reaches
    members whose options have certificates."""

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        options: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.members = [Member(f"e{at}", directory / f"e{at}", options, tls) for at in range(size)]
        self._names = ",".join(f"{one.name}={one.peer_url}" for one in self.members)

    @property
    def urls(self) -> list[str]:
        """The endpoints."""
        return [member.url for member in self.members]

    def start(self, *members: Member) -> None:
        """Start these members, or all."""
        for member in members or self.members:
            member.start(self._names)

    def wait(self) -> None:
        """Until there is a quorum."""
        eventually(self._serves, "etcd has a quorum")

    @property
    def is_whole(self) -> bool:
        """Whether all members answer, follow one leader, and have the same log. One that was away
        cannot be elected until it has caught up, so another one must not be lost before."""
        with contextlib.suppress(OSError):
            found = [member.status() for member in self.members]
            if "leader" in found[0]:
                names = ("leader", "raftTerm", "raftIndex", "raftAppliedIndex")
                return all(len({status.get(name) for status in found}) == 1 for name in names)
        return False

    @property
    def leader(self) -> Member:
        """The leader."""
        eventually(lambda: any(one.is_leader for one in self.members), "etcd has a leader")
        return next(one for one in self.members if one.is_leader)

    def _serves(self) -> bool:
        with contextlib.suppress(OSError):
            self.get("quorum")
            return True
        return False

    def get(self, key: str) -> tuple[str, int] | None:
        """The value of a key and the revision that created it, asked of a member that answers."""
        failure: OSError | None = None
        for member in self.members:
            try:
                body = {"key": base64.b64encode(key.encode()).decode()}
                found = member.post("/v3/kv/range", body).get("kvs")
            except OSError as error:
                failure = error
            else:
                if not found:
                    return None
                value = base64.b64decode(found[0]["value"]).decode()
                return value, int(found[0]["create_revision"])
        raise failure or OSError("no member")

    def close(self) -> None:
        """End every member."""
        for member in self.members:
            with contextlib.suppress(AssertionError, ProcessLookupError):
                member.signal(signal.SIGCONT)
            member.kill()


@contextmanager
def cluster(
    directory: Path,
    size: int = 3,
    options: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
) -> Iterator[Cluster]:
    """A cluster that serves, for the length of a block."""
    require_etcd()
    made = Cluster(directory, size, options, tls)
    try:
        made.start()
        made.wait()
        yield made
    finally:
        made.close()
