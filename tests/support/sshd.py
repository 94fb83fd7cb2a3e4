"""The system's OpenSSH server, private to a test: own port, host keys, user key and log.

Runs in the foreground below the test's process. Must never read or write /etc/ssh.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.family import Family
from tests.support.keys import KeyKind, write_key
from tests.support.ports import free_port
from tests.support.processes import children, descendants, is_running
from tests.support.waiting import eventually
from tunnelctl.spec.host import Host

REQUIRE = "TUNNELCTL_REQUIRE_SSHD"


def require_sshd() -> str:
    """The path of sshd; skips the test without one, or fails it where sshd is required."""
    path = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        reason = "OpenSSH's sshd is not installed (Debian: apt-get install openssh-server)"
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@functools.cache
def sshd_version(path: str) -> tuple[int, int]:
    """OpenSSH's version, e.g. (9, 2)."""
    # Old versions do not know -V, and print the version with the usage.
    shown = subprocess.run([path, "-V"], capture_output=True, text=True, check=False)
    match = re.search(r"OpenSSH_(\d+)\.(\d+)", shown.stderr + shown.stdout)
    assert match, f"{path} -V says no version: {shown.stderr}"
    return int(match[1]), int(match[2])


def _root_is_locked() -> bool:
    """Whether sshd without PAM would refuse root for a locked password."""
    if os.geteuid() != 0:
        return False
    shadow = Path("/etc/shadow")
    lines = shadow.read_text().splitlines() if shadow.exists() else []
    return any(line.startswith("root:!") for line in lines)


class OpenSSHServer:
    """One sshd on `address`. Not started until `start`; `stop` may be called at any time.

    `config` lines are put before the standard ones, so that they win (sshd_config(5): the first
    value counts); those from the first `Match` on behind them, where they belong. `inside` is a
    command that runs sshd as it is given, where it should be elsewhere, as in a namespace.
    """

    def __init__(
        self,
        directory: Path,
        *,
        config: Sequence[str] = (),
        host_keys: Sequence[KeyKind] = (KeyKind.ED25519,),
        address: str = "127.0.0.1",
        inside: Sequence[str] = (),
    ) -> None:
        self.address = address
        self._inside = tuple(inside)
        self._sshd = require_sshd()
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.identity = directory / "client_key"
        self.authorized_keys = directory / "authorized_keys"
        self.authorized_keys.write_text(write_key(self.identity) + "\n")
        self.known_hosts = directory / "known_hosts"
        self._log = directory / "sshd.log"
        self._log.touch()
        self._extra = tuple(config)
        self._kinds = tuple(host_keys)
        self.host_keys = self._new_host_keys()  # public halves: "TYPE BASE64"
        self.known_hosts.write_text("".join(f"{self.pattern} {key}\n" for key in self.host_keys))
        self._running: Family | None = None

    # What a client needs

    @property
    def pattern(self) -> str:
        """How known_hosts writes this server's name."""
        return f"[{self.address}]:{self.port}"

    def host(self, **changes: Any) -> Host:
        """A host ready to connect: right address, user, key and known_hosts, with `changes`."""
        host = Host(
            name="server",
            hostname=self.address,
            port=self.port,
            user=self.user,
            identity_file=(str(self.identity),),
            identities_only=True,
            user_known_hosts_file=(str(self.known_hosts),),
        )
        return dataclasses.replace(host, **changes)

    def host_yaml(self, **more: str | float) -> str:
        """The same as one line of a profile: a YAML flow map, e.g. for `hosts: {server: …}`."""
        words: dict[str, str | float] = {
            "hostname": self.address,
            "port": self.port,
            "user": self.user,
            "identity_file": str(self.identity),
            "user_known_hosts_file": str(self.known_hosts),
        }
        words.update(more)
        return "{" + ", ".join(f"{key}: {value}" for key, value in words.items()) + "}"

    @property
    def log(self) -> str:
        """All that sshd has said since the test began, over restarts."""
        return self._log.read_text(errors="replace")

    # Life and death

    @property
    def _family(self) -> Family:
        assert self._running is not None, "sshd does not run"
        return self._running

    @property
    def pid(self) -> int:
        """The listener's process id."""
        return self._family.pid

    def start(self) -> None:
        """Start and return once it listens."""
        assert self._running is None, "sshd runs already"
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.directory / "sshd_config"
        config.write_text("\n".join(self._config_lines()) + "\n")
        said_before = self._log.stat().st_size
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*self._inside, self._sshd, "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running = Family(process)

        def listens() -> bool:
            said = self._log.read_bytes()[said_before:].decode(errors="replace")
            assert process.poll() is None, f"sshd did not start: {said}"
            return f"Server listening on {self.address} port {self.port}" in said

        eventually(listens, "sshd listens")

    def stop(self) -> None:
        """End the listener and every session; does nothing when it does not run."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def kill(self) -> None:
        """SIGKILL the listener and every session: what a crash or a power cut of the server is."""
        self._family.kill()
        self._running = None

    def kill_sessions(self) -> None:
        """SIGKILL the sessions only; the listener takes new connections."""
        self._family.kill_children()

    def restart(self) -> None:
        """Stop and start on the same port with the same keys."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP everything: the kernel goes on acknowledging, and nobody answers."""
        self._family.pause()

    def resume(self) -> None:
        """Let everything that `pause` stopped run on."""
        self._family.resume()

    def rotate_host_key(self) -> None:
        """Come back on the same port with new host keys; known_hosts keeps the old ones."""
        self.stop()
        self.host_keys = self._new_host_keys()
        self.start()

    def reconfigure(self, *config: str) -> None:
        """Start anew on the same port with these extra configuration lines."""
        self.stop()
        self._extra = config
        self.start()

    @property
    def sessions(self) -> list[int]:
        """The process ids below the listener."""
        return self._running.children if self._running is not None else []

    @property
    def connections(self) -> list[list[int]]:
        """The process ids of each connection, the oldest first: one, and one more since OpenSSH
        10.5, also where the user is root."""
        listener = children(self._running.pid) if self._running is not None else []
        return [[pid, *descendants(pid)] for pid in listener if is_running(pid)]

    # Configuration

    def _new_host_keys(self) -> tuple[str, ...]:
        return tuple(write_key(self.directory / f"host_{kind}", kind) for kind in self._kinds)

    def _config_lines(self) -> list[str]:
        first_match = next(
            (n for n, line in enumerate(self._extra) if line.startswith("Match")), len(self._extra)
        )
        lines = [
            *self._extra[:first_match],
            f"Port {self.port}",
            f"ListenAddress {self.address}",
            *(f"HostKey {self.directory / f'host_{kind}'}" for kind in self._kinds),
            f"AuthorizedKeysFile {self.authorized_keys}",
            f"PidFile {self.directory / 'sshd.pid'}",
            "StrictModes no",
            f"UsePAM {'yes' if _root_is_locked() else 'no'}",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "LogLevel VERBOSE",
        ]
        if not any(line.startswith("MaxStartups") for line in self._extra):
            lines.append("MaxStartups 1000")  # of this one word the last value counts
        if sshd_version(self._sshd) >= (9, 8):
            # Tests fail to log in on purpose, all from 127.0.0.1.
            lines.append("PerSourcePenalties no")
        return [*lines, *self._extra[first_match:]]
