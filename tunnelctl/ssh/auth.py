"""Who we are: which keys are tried, in which order, then the password.

Owns the order of ssh(1): keys of the profile (or the default ones) that the agent holds, the
agent's others, keys from files, the password. Must never say a secret, and never call a lost
connection a refusal: only an answer of the server is one.
"""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from paramiko.ssh_exception import SSHException

from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host, SecretRef
from tunnelctl.ssh.agent import Agent, AgentError, AgentKey, agent_path
from tunnelctl.ssh.client import ClientTransport
from tunnelctl.ssh.failures import During, label, peer_failure, printable
from tunnelctl.ssh.hostkeys import fingerprint
from tunnelctl.ssh.keys import Identity, KeyFile, too_short
from tunnelctl.ssh.userauth import Answer, Disconnected, UserAuth
from tunnelctl.wire.messages import ProtocolError

# Tried where the profile names no key, when they exist; best first.
DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
# ssh_config(5) IdentityFile: no key from a file, not even one of those.
NO_KEY = "none"
# RFC 4253 section 11.1: disconnect codes that say "not you", not "not now".
_NO_MORE_METHODS = 14
_ILLEGAL_USER_NAME = 15
# sshd says it with the code of a protocol error (auth.c, auth_maxtries_exceeded).
_TOO_MANY = "too many authentication failures"

ResolveSecret = Callable[[SecretRef], str]


def authenticate(
    transport: ClientTransport, host: Host, resolve_secret: ResolveSecret, deadline: float
) -> None:
    """Log in; blocking, until `deadline` (a moment of `clock.monotonic`) at most.

    The key exchange is done and the host key verified. Secrets are resolved only when the server
    asks for what they open, and are not kept.

    Raises:
        Failure: auth-failed (with the keys that were tried), key-unreadable, timed-out,
            handshake-failed when the connection ended, and what `resolve_secret` raises.
    """
    with ExitStack() as stack:
        attempt = _Attempt(transport, host, resolve_secret, deadline, stack)
        try:
            attempt.run()
        except Disconnected:
            raise attempt.cut_off(transport) from None
        except (TimeoutError, SSHException, ProtocolError) as error:
            raise peer_failure(host, error, During.AUTHENTICATION) from None


def user_of(host: Host) -> str:
    """The name to log in with: the profile's, else that of whoever runs this process.

    Raises:
        Failure: config-invalid when this user has no name.
    """
    if host.user is not None:
        return host.user
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise Failure(
            Code.CONFIG_INVALID,
            f"{label(host)}: no user to log in as: uid {os.geteuid()} has no name here",
            f"add user: NAME to hosts.{host.name} in the profile",
        ) from None


class _Attempt:
    """One login: what was tried so far, and what the server said to it."""

    def __init__(
        self,
        transport: ClientTransport,
        host: Host,
        resolve_secret: ResolveSecret,
        deadline: float,
        stack: ExitStack,
    ) -> None:
        self._host = host
        self._user = user_of(host)
        self._resolve_secret = resolve_secret
        self._stack = stack  # closes the agent
        self._auth = UserAuth(transport, self._user, deadline)
        self._tried: list[str] = []  # as messages name them
        self._notes: list[str] = []  # why something was not tried
        self._offered_files: list[str] = []

    def run(self) -> None:
        """Raises Failure unless the server lets us in."""
        files = self._key_files()  # a mistake in the profile shows before anything is sent
        answer = self._auth.begin()
        keys: Iterator[Identity] | None = None
        password = self._host.password
        while answer is not Answer.ACCEPTED:
            if "publickey" in self._auth.methods:
                if keys is None:
                    keys = iter(self._identities(files))
                if (key := next(keys, None)) is not None:
                    answer = self._try_key(key)
                    continue
            if "password" in self._auth.methods and password is not None:
                answer = self._auth.send_password(self._resolve_secret(password))
                self._tried.append("the password")
                password = None
                continue
            raise self._refused()

    # Keys

    def _key_files(self) -> list[KeyFile]:
        """The files that the profile names, all of which must be usable; else the default ones."""
        if self._host.identity_file == (NO_KEY,):
            return []
        named = [Path(name).expanduser() for name in self._host.identity_file]
        if named:
            with self._naming_the_host():
                return [KeyFile(path) for path in named]
        found = []
        for path in (Path(name).expanduser() for name in DEFAULT_KEYS):
            if path.exists():
                try:
                    found.append(KeyFile(path))
                except Failure as failure:
                    self._notes.append(failure.message)
        return found

    def _identities(self, files: Sequence[KeyFile]) -> Iterator[Identity]:
        """In the order of ssh(1); each key once."""
        agent, held = self._agent()
        by_blob = {key.blob: key for key in held}
        in_agent = [file for file in files if file.blob in by_blob]
        if agent is not None:
            for file in in_agent:
                key = by_blob[file.blob or b""]
                yield Identity(str(file.path), key.blob, partial(agent.sign, key.blob))
            if not self._host.identities_only and not self._host.identity_file:
                chosen = {file.blob for file in in_agent}
                for key in held:
                    if key.blob not in chosen and self._is_usable(key):
                        name = f"agent key {printable(key.comment)}".rstrip()
                        yield Identity(name, key.blob, partial(agent.sign, key.blob))
        for file in files:
            if file not in in_agent and (identity := self._opened(file)) is not None:
                yield identity

    def _opened(self, file: KeyFile) -> Identity | None:
        try:
            return file.identity(self._passphrase)
        except Failure as failure:
            self._pass_over(failure)
            return None

    def _agent(self) -> tuple[Agent | None, tuple[AgentKey, ...]]:
        path = agent_path(self._host, os.environ)
        if path is None:
            return None, ()
        try:
            agent = self._stack.enter_context(Agent(path))
            return agent, agent.keys()
        except AgentError as error:
            self._notes.append(str(error))
            return None, ()

    def _is_usable(self, key: AgentKey) -> bool:
        try:
            bits = too_short(key.blob)
        except ProtocolError:
            return False
        if bits:
            self._notes.append(f"agent key {printable(key.comment)} has only {bits} bits")
        return not bits

    def _try_key(self, key: Identity) -> Answer:
        algorithm = self._auth.algorithm_for(key)
        if algorithm is None:
            self._notes.append(f"{key.name}: the server takes no SHA-2 signature of an RSA key")
            return Answer.REFUSED
        self._tried.append(f"{key.name} ({key.key_type} {fingerprint(key.blob)})")
        if not key.name.startswith("agent key"):
            self._offered_files.append(key.name)
        if not self._auth.would_accept(key, algorithm):
            return Answer.REFUSED
        try:
            return self._auth.send_key(key, algorithm)
        except AgentError as error:
            self._notes.append(str(error))
        except Failure as failure:
            self._pass_over(failure)
        return Answer.REFUSED

    def _passphrase(self) -> str | None:
        reference = self._host.passphrase
        return None if reference is None else self._resolve_secret(reference)

    def _pass_over(self, failure: Failure) -> None:
        """A default key that cannot be used is one less; one that the profile names is an error."""
        if self._host.identity_file or failure.code is not Code.KEY_UNREADABLE:
            raise self._with_label(failure) from None
        self._notes.append(failure.message)

    @contextmanager
    def _naming_the_host(self) -> Iterator[None]:
        try:
            yield
        except Failure as failure:
            raise self._with_label(failure) from None

    def _with_label(self, failure: Failure) -> Failure:
        if failure.code is not Code.KEY_UNREADABLE:
            return failure
        return Failure(failure.code, f"{label(self._host)}: {failure.message}", failure.hint)

    # What people read

    def cut_off(self, transport: ClientTransport) -> Failure:
        """The server ended the connection: because of us, or because of the network."""
        said = transport.said
        if _TOO_MANY in said.lower():
            return self._failure(
                "the server ended the login after too many keys",
                "name the right key with identity_file, which also keeps the agent's others back",
            )
        if transport.disconnect_code in (_NO_MORE_METHODS, _ILLEGAL_USER_NAME):
            return self._failure(f'the server ended the login: it said "{printable(said)}"', "")
        return peer_failure(self._host, transport.saved_exception, During.AUTHENTICATION, said)

    def _refused(self) -> Failure:
        takes = ", ".join(map(printable, self._auth.methods)) or "nothing more"
        return self._failure(f"the server does not let us in; it still takes {takes}", self._hint())

    def _failure(self, what: str, hint: str) -> Failure:
        host = self._host
        at = f"[{host.hostname}]" if ":" in host.hostname else host.hostname
        who = f"{self._user}@{at}:{host.port}"
        head = who if host.name == host.hostname else f"{host.name} ({who})"
        tried = f"; tried {', '.join(self._tried)}" if self._tried else "; there was no key to try"
        notes = f"; {'; '.join(self._notes)}" if self._notes else ""
        return Failure(Code.AUTH_FAILED, f"{head}: {what}{tried}{notes}", hint)

    def _hint(self) -> str:
        methods = self._auth.methods
        if self._auth.password_expired:
            return f"the password has expired: log in once with {self._ssh('ssh')} and change it"
        if "publickey" in methods:
            if self._offered_files:
                copy = f"ssh-copy-id -i {shlex.quote(self._offered_files[0])}"
                return f"let the server know the key: {self._ssh(copy)}"
            return "name a key with identity_file, or make one with: ssh-keygen -t ed25519"
        if "password" in methods and self._host.password is None:
            return f"add password: {{env: NAME}} to hosts.{self._host.name} in the profile"
        if "keyboard-interactive" in methods:
            return (
                "questions (keyboard-interactive) are not supported yet: allow keys on the server"
            )
        return f"compare with: {self._ssh('ssh -v')}"

    def _ssh(self, command: str) -> str:
        port = "" if self._host.port == 22 else f" -p {self._host.port}"
        return f"{command}{port} {shlex.quote(f'{self._user}@{self._host.hostname}')}"
