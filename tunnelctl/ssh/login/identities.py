"""The keys for a login: of files, of certificates, of the agent; in the order of ssh(1).

Owns which keys are offered and in which order (OpenSSH sshconnect2.c, pubkey_prepare), and why one
is not. Must never open a private key before the server wants its signature.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.net import files
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.algorithms import USER_KEY_ALGORITHMS
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import SecretSource
from tunnelctl.ssh.keys.agent import Agent, AgentError, AgentKey, ProvenHost, agent_path
from tunnelctl.ssh.keys.certificates import USER, Certificate, is_certified, plain_key
from tunnelctl.ssh.keys.credentials import AGENT, Credential, Tried
from tunnelctl.ssh.keys.key_files import (
    Identity,
    KeyFile,
    Passphrases,
    key_type,
    read_public,
    too_short,
)
from tunnelctl.ssh.keys.signatures import algorithms_of
from tunnelctl.ssh.sentences import excerpt
from tunnelctl.wire.messages import ProtocolError

# Tried if the profile names no key, as far as they exist; best first.
DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
# ssh_config(5) IdentityFile: no key from a file, not even a default one.
NO_KEY = "none"
_BESIDE = "-cert.pub"
_FILE = SecretSource.FILE


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The content of a file: a key or a certificate. `blob`: None if only a passphrase reveals
    it."""

    name: str
    blob: bytes | None
    file: KeyFile


class Identities:
    """The keys of `host`. `stack` closes the agent, which gets `session` if there is one.

    A file that cannot be used is skipped: `notes` says why, `has_out_of_date` that one of them is a
    certificate which is not valid now, and `unusable` is the first one that the profile names. If
    no other key could be meant instead, that failure is raised at once. `tried` records the missing
    files, and the agent's keys.

    Raises:
        Failure: key-unreadable.
    """

    def __init__(
        self,
        host: Host,
        environment: Environment,
        passphrases: Passphrases,
        stack: ExitStack,
        session: ProvenHost | None = None,
        tried: Tried | None = None,
    ) -> None:
        self.notes: list[str] = []
        self.unusable: Failure | None = None
        self.has_out_of_date = False
        self._host = host
        self._environment = environment
        self._passphrases = passphrases
        self._stack = stack
        self._session = session
        self._tried = tried or Tried()
        self._files = self._key_files()
        self._certificates = [
            (str(path), blob)
            for path in map(self._path, host.certificate_file)
            if (blob := self._certificate(path)) is not None
        ]
        if self.unusable is not None and host.identities_only and not self._files:
            raise self.unusable

    def __iter__(self) -> Iterator[Identity]:
        """Each key once, in the order of the offers."""
        agent, held = self._agent()
        yield from self._certified(agent, held)
        files = self._candidates()
        in_agent: list[_Candidate] = []
        for blob in held if agent is not None else ():
            in_agent += [each for each in files if each.blob == blob][:1]
        if agent is not None:
            for each in in_agent:
                yield self._by_agent(agent, each.name, each.blob or b"")
            if not self._host.identities_only:
                chosen = {each.blob for each in in_agent}
                for blob, key in held.items():
                    if blob not in chosen and self._is_usable(key):
                        name = f"agent key {excerpt(key.comment)}".rstrip()
                        yield self._by_agent(agent, name, blob, in_agent=True)
        for each in files:
            if each not in in_agent and (identity := self._of_file(each)) is not None:
                yield identity

    def pass_over(self, failure: Failure) -> None:
        """Continue without a key that turned out to be unusable."""
        self.notes.append(failure.message)
        if self._host.identity_file:
            self.unusable = self.unusable or failure

    # Files

    def _key_files(self) -> list[KeyFile]:
        """The named files, or the default ones that exist."""
        if self._host.identity_file == (NO_KEY,):
            return []
        named = [self._path(name) for name in self._host.identity_file]
        found = []
        for path in named or (path for path in map(self._path, DEFAULT_KEYS) if files.exists(path)):
            try:
                found.append(KeyFile(path))
            except Failure as failure:
                self._tried.away.add(str(path))
                self.pass_over(failure)
        return found

    def _path(self, name: str) -> Path:
        return Path(self._environment.expand_user(name))

    def _candidates(self) -> list[_Candidate]:
        """Each key, followed by the certificate beside it if the profile names none (ssh.c)."""
        found = []
        for file in self._files:
            found.append(_Candidate(str(file.path), file.blob, file))
            beside = file.path.with_name(file.path.name.removesuffix(".pub") + _BESIDE)
            if not self._host.certificate_file and files.exists(beside, regular=True):
                blob = self._certificate(beside)
                if blob is not None and file.blob in (None, plain_key(blob)):
                    found.append(_Candidate(str(beside), blob, file))
        return found

    def _of_file(self, candidate: _Candidate) -> Identity | None:
        try:
            identity = candidate.file.identity(self._passphrases)
        except Failure as failure:
            self._tried.only_agent |= not candidate.file.is_private
            self.pass_over(failure)
            return None
        return Identity(candidate.name, candidate.blob or identity.blob, identity.sign)

    # Certificates

    def _certificate(self, path: Path) -> bytes | None:
        """The user certificate in a file; also an expired one, because clocks differ."""
        try:
            blob = read_public(path)
            if not is_certified(key_type(blob)):
                self.notes.append(f"{path} is not a certificate")
                return None
            certificate = Certificate.parse(blob)
        except Failure as failure:
            self._tried.away.add(str(path))
            self.pass_over(failure)
            return None
        except ProtocolError:
            self.notes.append(f"{path} is a damaged certificate")
            return None
        if certificate.kind != USER:
            self.notes.append(f"{path} is a host certificate")
            return None
        if when := certificate.out_of_date(clock.wall().timestamp()):
            self.notes.append(f"the certificate {path}: {when}")
            self.has_out_of_date = True
        return blob

    def _certified(self, agent: Agent | None, held: dict[bytes, AgentKey]) -> Iterator[Identity]:
        """The certificates that the profile names, each with its private key."""
        for name, blob in self._certificates:
            signer = self._signer(agent, held, blob)
            if signer is not None:
                yield Identity(name, blob, signer.sign, signer.by_agent)
            else:
                self.notes.append(f"there is no private key for the certificate {name}")

    def _signer(
        self, agent: Agent | None, held: dict[bytes, AgentKey], certificate: bytes
    ) -> Identity | None:
        """The private key of a certificate."""
        key = plain_key(certificate)
        for blob in (key, certificate):
            if agent is not None and blob in held:
                return self._by_agent(agent, AGENT, blob)
        for file in self._files:
            if file.blob in (None, key):
                candidate = _Candidate(str(file.path), file.blob, file)
                identity = self._of_file(candidate)
                if identity is not None and identity.blob == key:
                    return identity
        return None

    # The agent

    def _agent(self) -> tuple[Agent | None, dict[bytes, AgentKey]]:
        path = agent_path(self._host, self._environment)
        if path is None:
            return None, {}
        self._tried.agent, self._tried.held = str(path), []
        try:
            agent = self._stack.enter_context(Agent(path))
            if self._session is not None:
                agent.bind(self._session)
            held = {key.blob: key for key in agent.listed()}
            self._tried.agent_is_empty = not held and not _keys_of(path)
        except AgentError as error:
            self._tried.agent_error = str(error)
            self.notes.append(str(error))
            return None, {}
        self._tried.held = [Credential.of_blob(AGENT, blob) for blob in held]
        return agent, held

    @staticmethod
    def _by_agent(agent: Agent, name: str, blob: bytes, *, in_agent: bool = False) -> Identity:
        return Identity(
            name,
            blob,
            lambda data, algorithm: agent.sign(blob, data, algorithm),
            by_agent=True,
            in_agent=in_agent,
        )

    def _is_usable(self, key: AgentKey) -> bool:
        try:
            blob = plain_key(key.blob)
            bits = too_short(blob)
            known = set(algorithms_of(key_type(blob))) & set(USER_KEY_ALGORITHMS)
        except ProtocolError:
            return False
        if bits:
            self.notes.append(f"agent key {excerpt(key.comment)} has only {bits} bits")
        return bool(known) and not bits


def what_is_there(host: Host, environment: Environment) -> Hashable:
    """A value for what a login to `host` would find now. It changes when a file of the host's keys,
    certificates or secrets changes, or the agent's list of keys. Blocking; nothing is signed and no
    question is asked."""
    names = list(host.identity_file or DEFAULT_KEYS)
    names += [f"{name.removesuffix('.pub')}{end}" for name in names for end in (".pub", _BESIDE)]
    secrets = (host.password, host.passphrase)
    names += [*host.certificate_file, *(s.value[0] for s in secrets if s and s.source is _FILE)]
    held: tuple[bytes, ...] | None = None
    path = agent_path(host, environment)
    if path is not None:
        with suppress(AgentError):
            held = _keys_of(path)
    return (held, *(_stamp(name, environment) for name in names))


def _keys_of(agent: Path) -> tuple[bytes, ...]:
    """All its keys, also those that are bound to other hosts; none if it is locked."""
    with Agent(agent) as asked:
        return tuple(key.blob for key in asked.listed())


def _stamp(name: str, environment: Environment) -> tuple[int, ...]:
    try:
        found = files.status(environment.expand_user(name))
    except (OSError, ValueError):
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode
