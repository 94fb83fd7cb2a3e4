"""A private user for the real command: own home, own XDG directories, own daemon.

Never touches the files, the daemon or the agent of whoever runs the tests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.processes import command_line, is_running, with_environment, with_locks
from tests.support.sshd import OpenSSHServer
from tests.support.terminal import Terminal
from tests.support.waiting import eventually
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths

_LOOP_WATCH = str(Path(__file__).parent / "loopwatch")
_INTERRUPTED = str(Path(__file__).with_name("interrupted.py"))
_ENDS_WITHIN = 15.0  # seconds; the daemon promises ten


class World:
    """Runs `tunnelctl` as a user whose home is `directory` (short: a unix socket's path is).
    `python` is that of the environment that has it."""

    def __init__(self, directory: Path, python: str = sys.executable) -> None:
        self.inside: Sequence[str] = ()  # a prefix of every command, as of a network namespace
        self._python = python
        self.home = directory
        self.configs = directory / "configs"
        self.state = directory / "state"
        self.loop_report = directory / "loop"  # see tests/support/loopwatch
        runtime = directory / "run"
        for made in (self.configs, self.state, runtime):
            made.mkdir(mode=0o700)
        kept = {name: value for name, value in os.environ.items() if name in _KEPT}
        self.environ: dict[str, str] = {
            **kept,
            "HOME": str(directory),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "XDG_STATE_HOME": str(self.state),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "XDG_RUNTIME_DIR": str(runtime),
            "TUNNELCTL_CONFIG_DIR": str(self.configs),
            # The daemon runs as a user's would: warnings are errors in it too.
            "PYTHONWARNINGS": "error",
            "PYTHONPATH": os.pathsep.join(filter(None, [_LOOP_WATCH, kept.get("PYTHONPATH")])),
            "TUNNELCTL_LOOP_REPORT": str(self.loop_report),
            # What the libraries look for when they are imported, and no test needs: the machine's
            # authorities (ssl) and plugins in every installed package (pydantic).
            "SSL_CERT_FILE": os.devnull,
            "PYDANTIC_DISABLE_PLUGINS": "1",
        }

    def unwatch(self) -> None:
        """Run the daemon as a user does, to be measured: without the watch over its loop, which
        takes time in every turn, and without looking for warnings."""
        for name in ("PYTHONWARNINGS", "TUNNELCTL_LOOP_REPORT"):
            del self.environ[name]
        self.environ["PYTHONPATH"] = self.environ["PYTHONPATH"].removeprefix(_LOOP_WATCH)

    def profile(self, name: str, text: str) -> Path:
        """Write a profile where the command finds it."""
        path = self.configs / f"{name}.yaml"
        path.write_text(text)
        return path

    def alias(self, name: str, server: OpenSSHServer) -> None:
        """Have `ssh NAME` of this user reach `server`, through ~/.ssh/config."""
        host = server.host()
        folder = self.home / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / "config").open("a") as config:
            config.write(
                f"Host {name}\n  HostName {host.hostname}\n  Port {host.port}\n"
                f"  User {host.user}\n  IdentityFile {host.identity_file[0]}\n"
                f"  IdentitiesOnly yes\n  UserKnownHostsFile {server.known_hosts}\n"
            )
        (folder / "config").chmod(0o600)

    def tunnel(self, server: OpenSSHServer, *, name: str = "dev", **forwards: str) -> Path:
        """Write the profile `name` with one host, `server`, and forwards as flow maps.

        A forward's `via` is added, e.g. `db="local: 5432, to: 5433"`.
        """
        return self.profile(name, tunnel_text(server.host_yaml(), **forwards))

    def run(
        self, *arguments: str, seconds: float = 60.0, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `tunnelctl ARGUMENTS…` to its end; the caller looks at `returncode`."""
        return subprocess.run(
            self._command(arguments),
            cwd=self.home,
            env={**self.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # nobody is asked at the terminal of whoever runs the tests
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def ok(self, *arguments: str, seconds: float = 60.0) -> str:
        """Run a command that must succeed; its standard output."""
        done = self.run(*arguments, seconds=seconds)
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stderr}"
        return done.stdout

    def start(
        self,
        *arguments: str,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start a command that stays; the caller ends it."""
        return subprocess.Popen(
            self._command(arguments),
            cwd=self.home,
            env=self.environ,
            stdin=stdin,
            start_new_session=True,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )

    def interrupted(
        self, calls: int, number: signal.Signals, *arguments: str
    ) -> subprocess.Popen[str]:
        """Start a command that gets a signal after so many function calls of its own; see
        tests/support/interrupted.py."""
        return subprocess.Popen(
            [sys.executable, _INTERRUPTED, str(calls), str(int(number)), *arguments],
            cwd=self.home,
            # Python, stopped in the middle of an import, leaves the module's file open.
            env={**self.environ, "PYTHONWARNINGS": "error,ignore::ResourceWarning"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def terminal(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Terminal:
        """Start a command at a terminal of its own."""
        return Terminal(self._command(arguments), self.home, {**self.environ, **(environ or {})})

    def status(self) -> dict[str, Any]:
        """The status document, as `ps --json` prints it; asked here, where that takes no process.

        Raises:
            Failure: DAEMON_NOT_RUNNING.
        """
        return Client(Paths.from_environ(self.environ, self.home)).status(within=60).as_json()

    def host(self, profile: str, name: str = "server") -> dict[str, Any]:
        """One host of the status document."""
        return self._part(profile, "hosts", name)

    def forward(self, profile: str, name: str) -> dict[str, Any]:
        """One forward of the status document."""
        return self._part(profile, "forwards", name)

    def _part(self, profile: str, kind: str, name: str) -> dict[str, Any]:
        for candidate in self.status()["profiles"]:
            if candidate["name"] == profile:
                part: dict[str, Any]
                for part in candidate[kind]:
                    if part["name"] == name:
                        return part
        raise AssertionError(f"{profile}/{name} is not in the status document")

    def processes(self) -> list[int]:
        """Every process of this world that runs; the daemon hides its environment from others."""
        found = {*with_environment(f"HOME={self.home}"), *with_locks(self.home)}
        return sorted(filter(is_running, found))

    def daemon_pid(self) -> int:
        """The daemon's process id, by its own word."""
        pid: int = self.status()["daemon"]["pid"]
        return pid

    def kill_daemon(self) -> None:
        """SIGKILL the daemon, and see it gone."""
        pid = self.daemon_pid()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_running(pid), "the killed daemon is gone")

    def close(self) -> None:
        """End the daemon as a service manager would.

        Raises:
            AssertionError: something of this world still ran when the daemon should be gone, or
                its loop was held up (see tests/support/loopwatch).
        """
        running = self.processes()
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        try:
            # To look through all processes costs milliseconds: only when these have ended.
            eventually(
                lambda: not any(map(is_running, running)),
                "the daemon ends at SIGTERM",
                _ENDS_WITHIN,
            )
            eventually(lambda: not self.processes(), "its programs end", _ENDS_WITHIN)
            assert not self.loop_report.exists(), self.loop_report.read_text()
        finally:
            for pid in self.processes():
                print(f"killed what was left: {pid} {command_line(pid)}", file=sys.stderr)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [*self.inside, self._python, "-m", "tunnelctl", *arguments]


@contextmanager
def private_world(python: str = sys.executable) -> Iterator[World]:
    """A world for the length of a block; a daemon that outlives it is ended, and must end when told
    to. `python` as in World."""
    # In /tmp itself: a unix socket's path may have 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="tctl-"))
    private = World(directory, python)
    yield private
    try:
        private.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def tunnel_text(host: str, **forwards: str) -> str:
    """A profile with one host, `server`, and these forwards through it, all as flow maps."""
    return "\n".join(
        [
            "version: 1",
            "hosts:",
            f"  server: {host}",
            "forwards:",
            *(f"  {name}: {{{rule}, via: server}}" for name, rule in forwards.items()),
            "",
        ]
    )


# What a command needs of the outer world to run at all; everything else is private.
_KEPT = frozenset({"PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "COVERAGE_PROCESS_START"})
