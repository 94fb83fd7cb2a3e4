"""The credentials of earlier logins, to tell a failure that may pass from a permanent one.

A server that refuses a credential which it accepted before may have its home directories mounted
late, and an agent may be locked or unavailable. Both may pass, so the login is tried again. A key
that was never accepted stays refused. Owns this verdict. Must never keep a secret: of a password it
keeps a keyed hash.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import field

from tunnelctl.errors import Code, Failure
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys.certificates import Certificate, is_certified, plain_key
from tunnelctl.ssh.keys.key_files import Identity, key_type
from tunnelctl.wire.messages import ProtocolError

AGENT = "the ssh-agent"
PASSWORD = "the password"  # noqa: S105 - where one comes from, not a password
_HASH_KEY = secrets.token_bytes(32)
_OF_A_LOGIN = (
    Code.AUTH_FAILED,
    Code.KEY_UNREADABLE,
    Code.NEEDS_INPUT,
    Code.SECRET_UNAVAILABLE,
)


@dataclass(frozen=True, slots=True)
class Credential:
    """Something that a login presents. Two with a token in common are the same to a server.

    `source` is the file of a key or certificate, or another origin.
    """

    source: str
    tokens: frozenset[bytes] = frozenset()

    @classmethod
    def of_blob(cls, source: str, blob: bytes) -> Credential:
        """A public key; or a certificate, which is known by its key and by its authority, so that a
        reissued one is the same. A blob that cannot be parsed is known by its bytes."""
        try:
            tokens = {plain_key(blob)}
            if is_certified(key_type(blob)):
                tokens.add(Certificate.parse(blob).authority)
        except ProtocolError:
            tokens = {blob}
        return cls(source, frozenset(tokens))

    @classmethod
    def of_key(cls, identity: Identity) -> Credential:
        """A key that is offered."""
        return cls.of_blob(AGENT if identity.by_agent else identity.name, identity.blob)

    @classmethod
    def of_password(cls, password: str) -> Credential:
        """The password that the profile refers to."""
        hashed = hashlib.blake2b(password.encode(), key=_HASH_KEY).digest()
        return cls(PASSWORD, frozenset({hashed}))

    def is_among(self, others: Iterable[Credential]) -> bool:
        """Whether one of `others` is the same."""
        return any(self.tokens & other.tokens for other in others)


NOTHING = Credential("nothing", frozenset({b"nothing"}))  # RFC 4252 section 5.2, method "none"
# A hop that was passed over a link of another profile: its credentials are not known here.
_UNKNOWN = Credential("")


_Server = tuple[str, str, str | None]


class Logins:
    """The credentials with which the hosts of one profile were logged in to. For any thread.

    The names of a profile are unique, so a host is the same one after ssh_config is read again.
    """

    def __init__(self) -> None:
        self._taken: dict[_Server, frozenset[Credential]] = {}

    def took(self, host: Host, credentials: Iterable[Credential]) -> None:
        """The server accepted these credentials, which replace those of the login before."""
        self._taken[_server(host)] = frozenset(credentials)

    def passed(self, hop: Host) -> None:
        """The hop was passed, with whatever credentials."""
        self._taken.setdefault(_server(hop), frozenset({_UNKNOWN}))

    def taken(self, host: Host) -> frozenset[Credential]:
        """The credentials of the last login; empty if there was none."""
        return self._taken.get(_server(host), frozenset())

    def forget(self, host: Host) -> None:
        """The settings of the host have changed."""
        self._taken.pop(_server(host), None)


def _server(host: Host) -> _Server:
    return host.name, host.address, host.user


@dataclass(slots=True)
class Tried:
    """The credentials that one login had, and their results.

    `before` has the credentials of the last successful login.
    """

    before: frozenset[Credential] = frozenset()
    accepted: list[Credential] = field(default_factory=list)
    refused: list[Credential] = field(default_factory=list)
    away: set[str] = field(default_factory=set)  # key files that cannot be read
    agent: str = ""  # its socket
    held: list[Credential] | None = None  # by the agent; None if it was not asked
    agent_error: str = ""  # why it did not answer, or did not sign
    agent_is_empty: bool = False  # or locked, which looks the same
    is_unsigned: bool = False  # the server would have accepted a key of the agent
    only_agent: bool = False  # a file names a key whose private part is in no file

    def lacks_agent(
        self, failure: Failure, host: Host, *, takes_keys: bool, needs_person: bool
    ) -> str:
        """Why the login failed because of the agent, in words; empty if it did not.

        `takes_keys`: the server would still accept a key. `needs_person`: an answer is missing that
        no key replaces.
        """
        if failure.retryable or failure.code not in _OF_A_LOGIN or self.held is None:
            return ""
        if self.is_unsigned:
            return self.agent_error
        if any(c.source == AGENT and not c.is_among(self.held) for c in self.before):
            return self.agent_error or f"{self._agent} no longer has the key of the last login"
        # If the agent may only offer named keys, those are also in the files.
        could_help = self.only_agent or (
            failure.code in (Code.AUTH_FAILED, Code.NEEDS_INPUT) and not host.identities_only
        )
        if not takes_keys or not could_help or needs_person:
            return ""
        is_empty = self.agent_is_empty and all(c is NOTHING for c in self.refused)
        return self.agent_error or (f"{self._agent} has no keys, or is locked" if is_empty else "")

    @property
    def _agent(self) -> str:
        return f"{AGENT} at {self.agent}"

    def may_pass(self, failure: Failure) -> bool:
        """Whether the login failed with credentials that worked before: the server refuses them for
        now, or their file is unavailable."""
        if failure.retryable or failure.code not in _OF_A_LOGIN:
            return False
        missing = [c for c in self.before if not c.is_among(self.accepted)]
        if failure.code is Code.KEY_UNREADABLE:  # the cause is not a missing passphrase
            missing = [c for c in missing if c.source in self.away or c is _UNKNOWN]
        elif failure.code is Code.NEEDS_INPUT:  # a person is asked only when nothing else is left
            missing = [c for c in missing if c.source in self.away or c.is_among(self.refused)]
        return any(not self._is_replaced(c) for c in missing)

    def _is_replaced(self, credential: Credential) -> bool:
        """Whether its file now has another credential, which the server never accepted."""
        if credential.source == AGENT or credential.is_among(self.refused):
            return False
        return any(other.source == credential.source for other in self.refused)
