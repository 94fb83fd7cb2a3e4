"""The base of the servers of the interop tests: files, a process, and how to log in.

A server runs on a loopback port of its own, with its keys, its users and its log in a folder of
the test. One that asks the system for its users (getpwnam(3)) runs in a mount namespace in which
/etc/passwd is the test's. Must never read or write what belongs to whoever runs the tests.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tests.support.family import Family
from tests.support.keys import KeyKind, write_key
from tests.support.ports import free_port, is_listening
from tests.support.waiting import eventually
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import SecretRef, SecretSource

USER = "root"
PASSWORD = "let-me-in"
# crypt(3) of it: `openssl passwd -6 -salt interop let-me-in`.
_CRYPTED = (
    "$6$interop$43QJ1xrKi0at9mB9AO7UcpKEDEYY2slX94fFSUSwSRr5/7Lz."
    "VijQDAPV9t3zJhL2.UkEMeFK.s6cQZNzAPZB0"
)
PROGRAMS = Path(__file__).with_name("programs")
_SBIN = "/usr/sbin:/usr/local/sbin"
# A folder with another system (debootstrap(8)), whose servers are run where they can be.
ROOT = Path(os.environ.get("TUNNELCTL_INTEROP_ROOT", "/"))


class Server(ABC):
    """One server on 127.0.0.1. Not started until `start`; `stop` may be called at any time.

    `identities` are the client's private keys, which the server takes for `user`, as it takes
    `password` where it has password logins at all.
    """

    name: ClassVar[str]  # as in the matrix of docs/servers.md
    source: ClassVar[str]  # the packages that bring it, for people
    forwards: ClassVar[bool] = True  # whether it has any
    user: ClassVar[str] = USER
    password: ClassVar[str] = PASSWORD

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.identities = {kind: directory / f"client_{kind}" for kind in KeyKind}
        keys = [write_key(path, kind) for kind, path in self.identities.items()]
        # The folder is the user's home too.
        (directory / ".ssh").mkdir(mode=0o700, exist_ok=True)
        self.authorized_keys = directory / ".ssh" / "authorized_keys"
        self.authorized_keys.write_text("".join(f"{key}\n" for key in keys))
        self.authorized_keys.chmod(0o600)
        self.host_key_file = directory / "ssh_host_ed25519_key"
        self.host_key = ""  # its public half: "TYPE BASE64"
        self.known_hosts = directory / "known_hosts"
        self._log = directory / "server.log"
        self._log.touch()
        self._running: Family | None = None
        self.prepare()
        self.known_hosts.write_text(f"{self.pattern} {self.host_key}\n")

    # What a server says of itself

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Why it cannot run here; None when it can."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """The version that is installed."""

    def prepare(self) -> None:
        """Make the host key, and whatever configuration the server wants."""
        self.host_key = write_key(self.host_key_file)

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command that runs the server in the foreground."""

    # What a client needs

    @property
    def pattern(self) -> str:
        """How known_hosts writes this server's name."""
        return f"[127.0.0.1]:{self.port}"

    def host(self, **changes: Any) -> Host:
        """A host ready to connect, with the ed25519 key."""
        host = Host(
            name="server",
            hostname="127.0.0.1",
            port=self.port,
            user=self.user,
            identity_file=(str(self.identities[KeyKind.ED25519]),),
            identities_only=True,
            user_known_hosts_file=(str(self.known_hosts),),
        )
        return dataclasses.replace(host, **changes)

    def host_with_key(self, kind: KeyKind) -> Host:
        """A host that logs in with the key of this kind."""
        return self.host(identity_file=(str(self.identities[kind]),))

    def host_with_password(self) -> Host:
        """A host that logs in with the password alone."""
        return self.host(
            identity_file=(),
            password=SecretRef(SecretSource.ENV, (PASSWORD,)),
            preferred_authentications=("keyboard-interactive", "password"),
        )

    def host_yaml(self, **more: str | float) -> str:
        """`host` as one line of a profile: a YAML flow map, e.g. for `hosts: {server: …}`."""
        words: dict[str, str | float] = {
            "hostname": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "identity_file": str(self.identities[KeyKind.ED25519]),
            "user_known_hosts_file": str(self.known_hosts),
            **more,
        }
        return "{" + ", ".join(f"{key}: {value}" for key, value in words.items()) + "}"

    def openssh_arguments(self, key: KeyKind = KeyKind.ED25519) -> list[str]:
        """The same for OpenSSH's `ssh`: its options and the host's name."""
        options = {
            "IdentityFile": self.identities[key],
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": self.known_hosts,
            "BatchMode": "yes",
            "Port": self.port,
            "User": self.user,
        }
        words = ["-F", "none"]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        return [*words, "127.0.0.1"]

    @contextmanager
    def forwarded_by_openssh(self, target: int) -> Iterator[int]:
        """OpenSSH's client in our place: the port that it forwards to 127.0.0.1:`target`."""
        port = free_port()
        forward = ["-N", "-L", f"127.0.0.1:{port}:127.0.0.1:{target}"]
        words = ["ssh", *forward, *self.openssh_arguments()]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL) as ssh:
            try:

                def listens() -> bool:
                    assert ssh.poll() is None, "ssh has ended"
                    return is_listening(port)

                eventually(listens, "ssh listens")
                yield port
            finally:
                ssh.kill()

    @property
    def log(self) -> str:
        """All that it has said, over restarts."""
        return self._log.read_text(errors="replace")

    # Life and death

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not ended since."""
        return self._running is not None

    @property
    def family(self) -> Family:
        """Its processes: to be paused and resumed."""
        assert self._running is not None, f"{self.name} does not run"
        return self._running

    def start(self) -> None:
        """Start and return once it listens."""
        assert self._running is None, f"{self.name} runs already"
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env={**os.environ, "HOME": str(self.directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running = Family(process)

        def listens() -> bool:
            assert process.poll() is None, f"{self.name} did not start: {self.log}"
            return is_listening(self.port)

        eventually(listens, f"{self.name} listens")

    def stop(self) -> None:
        """End it and every session; does nothing when it does not run."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def kill(self) -> None:
        """SIGKILL it and every session."""
        self.family.kill()
        self._running = None


def program(name: str) -> str:
    """The path of an installed program, also of one that only root's PATH has; its bare name
    where there is none."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}") or name


def missing_program(name: str, package: str) -> str | None:
    """That the program is not installed, and which package of Debian has it."""
    if shutil.which(program(name)) is None:
        return f"{name} is not installed (Debian: apt-get install {package})"
    return None


def missing_module(name: str) -> str | None:
    """That the Python package is not installed; it is in pyproject's extra `test`."""
    if importlib.util.find_spec(name) is None:
        return f"{name} is not installed (pip install 'tunnelctl[test]')"
    return None


def module_version(name: str) -> str:
    """The version of an installed Python package."""
    return importlib.metadata.version(name)


@functools.cache
def debian_version(package: str) -> str:
    """The version of an installed package of Debian, or `?` elsewhere."""
    asked = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Version}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "?"


# The system's users, replaced


@functools.cache
def missing_accounts() -> str | None:
    """Why this process cannot show a server users of the test's own."""
    if os.geteuid() != 0:
        return "only root can give a server users of the test's own"
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "true"], capture_output=True, check=False
    )
    return None if tried.returncode == 0 else "this machine allows no mount namespace"


def with_accounts(directory: Path, command: Sequence[str], root: Path = Path("/")) -> list[str]:
    """Run `command` where the user is `USER` with `PASSWORD`, at home in `directory`.

    `root` is `ROOT` for a command of that system; `directory` has its own path there.
    Home is mounted on /root: TinySSH trusts nothing below a folder like /tmp.
    """
    (directory / "passwd").write_text(
        f"{USER}:x:0:0::/root:/bin/sh\n"
        "sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin\n"
        "nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"
    )
    shadow = directory / "shadow"
    shadow.write_text(f"{USER}:{_CRYPTED}:19000:0:99999:7:::\nsshd:!:19000::::::\n")
    shadow.chmod(0o600)
    script = f'set -e\nmount --bind "{directory}/passwd" "{root}/etc/passwd"\n'
    script += f'mount --bind "{shadow}" "{root}/etc/shadow"\n'
    script += f'mount --bind "{directory}" "{root}/root"\n'
    if root != Path("/"):
        script += f'mount -t tmpfs tmpfs "{root}/tmp"\n'
        script += f'mkdir -p "{root}{directory}"\nmount --bind "{directory}" "{root}{directory}"\n'
        script += f'mount --rbind /dev "{root}/dev"\nmount -t proc proc "{root}/proc"\n'
        script += f'exec chroot "{root}" "$@"\n'
    else:
        script += 'exec "$@"\n'
    namespace = ["unshare", "--mount", "--propagation", "private"]
    return [*namespace, "sh", "-c", script, "sh", *command]
