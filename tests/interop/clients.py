"""Who talks to a server in a case: tunnelctl's links and forwards, or OpenSSH's `ssh`.

Both offer the same: a login, a local forward, a remote forward, each for as long as a block runs.
A case that is written for one of them is a case for the other.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from tests.support.keys import KeyKind
from tests.support.ports import free_port
from tests.support.servers.base import Server
from tests.support.tunnel import Tunnel, rule, tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.forward.remote.remote_forward import RemoteForward
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Side


class Login(StrEnum):
    """What to log in with."""

    ED25519 = "ed25519"
    RSA = "rsa"
    PASSWORD = "password"


@dataclass(frozen=True)
class Timing:
    """What of a link a case may want otherwise than by default; seconds and bytes."""

    rekey_limit: int | None = None
    alive_interval: float | None = None


USUAL = Timing()


_ANSWERS = 10.0  # seconds that a server may take to answer `ssh`


class DifferentError(Exception):
    """The case did not go as it should; the message is what happened, in a few words."""


@dataclass(frozen=True)
class Opened:
    """A forward: the port that listens, and what became of it."""

    port: int
    refusal: Callable[[], str | None]
    ended: Callable[[], str | None]  # why the link ended, if it did
    cancel: Callable[[], None]  # gives up a remote forward


class Client(Protocol):
    """See the module's text. Everything raises DifferentError or tunnelctl's Failure."""

    def login(self, server: Server, how: Login) -> AbstractAsyncContextManager[None]:
        """Log in."""

    def local(
        self, server: Server, target: Endpoint, timing: Timing = USUAL
    ) -> AbstractAsyncContextManager[Opened]:
        """Listen here for `target` there."""

    def remote(
        self, server: Server, listen: Endpoint, target: int
    ) -> AbstractAsyncContextManager[Opened]:
        """Listen there for 127.0.0.1:`target` here."""


class Ours:
    """tunnelctl's link and forwards, as the supervisor would make them."""

    @asynccontextmanager
    async def login(self, server: Server, how: Login) -> AsyncIterator[None]:
        """See Client."""
        if how is Login.PASSWORD:
            host = server.host_with_password()
        else:
            host = server.host_with_key(KeyKind(how.value))

        async with tunnel_to(None) as tunnel:
            await tunnel.connect(host, lambda _reference: server.password)
            yield

    @asynccontextmanager
    async def local(
        self, server: Server, target: Endpoint, timing: Timing = USUAL
    ) -> AsyncIterator[Opened]:
        """See Client."""
        host = server.host(rekey_limit=timing.rekey_limit)
        if timing.alive_interval is not None:
            host = server.host(
                server_alive_interval=timing.alive_interval, server_alive_count_max=1
            )
        async with tunnel_to(host) as tunnel:
            listening = await tunnel.add(rule(Side.HERE, 0, target))
            yield _opened(tunnel, listening.port)

    @asynccontextmanager
    async def remote(self, server: Server, listen: Endpoint, target: int) -> AsyncIterator[Opened]:
        """See Client."""
        async with tunnel_to(server.host()) as tunnel:
            wanted = rule(Side.THERE, 0, target, listen=listen)
            listening = await tunnel.add(wanted)
            yield _opened(tunnel, listening.port)


def _opened(tunnel: Tunnel, port: int) -> Opened:
    def refusal() -> str | None:
        return tunnel.failures[0].code.value if tunnel.failures else None

    def ended() -> str | None:
        return tunnel.link.closed.result().code.value if tunnel.link.closed.done() else None

    def cancel() -> None:
        forward = tunnel.forward()
        assert isinstance(forward, RemoteForward)
        forward.withdraw()

    return Opened(port, refusal, ended, cancel)


class OpenSSH:
    """The `ssh` of the system, a process for each forward; `directory` gets what it says."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0

    @asynccontextmanager
    async def login(self, server: Server, how: Login) -> AsyncIterator[None]:
        """See Client."""
        if how is Login.PASSWORD:
            running = self._start(server, "-oPubkeyAuthentication=no", "-oBatchMode=no")
        else:
            running = self._start(server, key=KeyKind(how.value))
        with running:
            await running.says("Authenticated to")
            yield

    @asynccontextmanager
    async def local(
        self, server: Server, target: Endpoint, timing: Timing = USUAL
    ) -> AsyncIterator[Opened]:
        """See Client."""
        port = free_port()
        options = ["-L", f"127.0.0.1:{port}:{target}"]
        if timing.rekey_limit is not None:
            options.append(f"-oRekeyLimit={timing.rekey_limit}")
        if timing.alive_interval is not None:
            options += ["-oServerAliveInterval=1", "-oServerAliveCountMax=1"]
        with self._start(server, *options) as running:
            await running.says("Entering interactive session")
            yield running.opened(port)

    @asynccontextmanager
    async def remote(self, server: Server, listen: Endpoint, target: int) -> AsyncIterator[Opened]:
        """See Client."""
        spec = f"{listen}:127.0.0.1:{target}"
        with self._start(server, "-R", spec) as running:
            told = await running.says(r"remote forward success|Allocated port (\d+)")
            yield running.opened(int(told[1] or listen.port))

    def _start(self, server: Server, *options: str, key: KeyKind = KeyKind.ED25519) -> _Running:
        self._number += 1
        directory = self._directory / f"ssh-{self._number}"
        directory.mkdir()
        askpass = directory / "askpass"
        askpass.write_text(f"#!/bin/sh\necho '{server.password}'\n")
        askpass.chmod(0o700)
        control = directory / "control"
        words = ["-v", "-N", "-M", "-S", str(control), "-oExitOnForwardFailure=yes", *options]
        log = directory / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["ssh", *words, *server.openssh_arguments(key)],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(directory),
                    "SSH_ASKPASS": str(askpass),
                    "SSH_ASKPASS_REQUIRE": "force",
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return _Running(process, log, control)


class _Running:
    """One `ssh -v`; killed at the end of its block."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, control: Path) -> None:
        self._process = process
        self._log = log
        self._control = control

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until it does; the match.

        Raises:
            DifferentError: it ended instead.
        """

        def said() -> re.Match[str] | None:
            found = re.search(pattern, self._said)
            ended = self.ended()
            if found is None and ended is not None:
                raise DifferentError(ended)
            return found

        try:
            found = await eventually_async(said, f"ssh says {pattern}", _ANSWERS)
        except AssertionError:
            raise DifferentError("no answer") from None
        assert found is not None
        return found

    def ended(self) -> str | None:
        """Its last words, once it has ended; without the address and ports of the test."""
        if self._process.poll() is None:
            return None
        if "forwarding failed for listen" in self._said:
            return "refused"
        lines = [line for line in self._said.splitlines() if not line.startswith(_CHATTER)]
        words = re.sub(r"\S*127\.0\.0\.1\S*( port \d+)?:? ?", "", lines[-1] if lines else "ended")
        return words.strip()

    def opened(self, port: int) -> Opened:
        """A forward of it."""
        return Opened(port, self._refusal, self.ended, lambda: self._cancel(port))

    @property
    def _said(self) -> str:
        return self._log.read_text(errors="replace")

    def _refusal(self) -> str | None:
        found = re.search(r"open failed: (.*)", self._said)
        return found[1].strip() if found else None

    def _cancel(self, port: int) -> None:
        # Only the listening side counts.
        spec = f"127.0.0.1:{port}:127.0.0.1:1"
        command = ["ssh", "-F", "none", "-S", str(self._control), "-O", "cancel", "-R", spec, "-"]
        subprocess.run(command, capture_output=True, check=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()


# What `ssh -v` says of every connection, also of one that failed.
_CHATTER = ("debug", "Transferred:", "Bytes per second:", "Authenticated to", "OpenSSH_")
