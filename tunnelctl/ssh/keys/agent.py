"""A client of ssh-agent: lists its keys and asks it for signatures (draft-ietf-sshm-ssh-agent).

Tells the agent first for which session they are, because keys may be bound to hosts (`ssh-add -h`).

Owns one connection to the agent's socket, closed by `close`. Must never wait for an agent longer
than its limit (an agent that hangs must not block anything else), and never forward the agent.
"""

from __future__ import annotations

import socket
from pathlib import Path

from tunnelctl import clock
from tunnelctl.closeable import Closeable
from tunnelctl.errors import reason
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.wire.messages import ProtocolError, Reader, string, u32

# Limit for one request, in seconds.
PATIENCE = 10.0
# Limit for a signature: a person may have to touch a security key, or to confirm it (ssh-add -c),
# and the agents of password managers unlock first.
SIGN_PATIENCE = 60.0
_VARIABLE = "SSH_AUTH_SOCK"
_MESSAGE_MAX = 256 * 1024  # OpenSSH authfd.c, MAX_AGENT_REPLY_LEN
_REQUEST_IDENTITIES = 11
_IDENTITIES_ANSWER = 12
_SIGN_REQUEST = 13
_SIGN_RESPONSE = 14
_EXTENSION = 27
_SESSION_BIND = "session-bind@openssh.com"
_SIGN_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}


class AgentError(Exception):
    """The agent cannot be reached, does not answer, or refuses. The text says which of these."""


@dataclass(frozen=True, slots=True)
class AgentKey:
    """A public key whose private part the agent has."""

    blob: bytes
    comment: str


@dataclass(frozen=True, slots=True)
class ProvenHost:
    """The result of the first key exchange: the host that a signature is for.

    `signature` is made by `host_key` over `session_id`; the bytes are as SSH sends them.
    """

    host_key: bytes
    session_id: bytes
    signature: bytes


def agent_path(host: Host, environment: Environment) -> Path | None:
    """The socket of the agent for `host`: IdentityAgent of ssh_config(5), else $SSH_AUTH_SOCK.

    A variable is read now, so that the agent of a new session is found (OpenSSH ssh.c, main).
    """
    named = host.identity_agent
    if named == "none":
        return None
    if named is None or named == _VARIABLE:
        named = f"${_VARIABLE}"
    if named.startswith("$"):
        named = environment.get(named[1:])
    return Path(environment.expand_user(named)) if named else None


class Agent(Closeable):
    """A connection to the agent at `path`.

    Raises:
        AgentError: from every method, and at once if nothing listens there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(PATIENCE)
        try:
            self._sock.connect(str(path))
        except OSError as error:
            self._sock.close()
            raise AgentError(f"no ssh-agent at {path}: {reason(error)}") from None

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def bind(self, session: ProvenHost) -> None:
        """Set the session that all later signatures are for (OpenSSH PROTOCOL.agent section 1).

        An agent that does not know the message signs as before; one that knows it lists and uses a
        key that is bound to hosts for these hosts only. The agent is not forwarded.
        """
        fields = (session.host_key, session.session_id, session.signature)
        request = bytes((_EXTENSION,)) + string(_SESSION_BIND) + b"".join(map(string, fields))
        self._ask(request + b"\0", None, PATIENCE)

    def listed(self) -> tuple[AgentKey, ...]:
        """The public keys, in the agent's order."""
        reader = self._ask(bytes((_REQUEST_IDENTITIES,)), _IDENTITIES_ANSWER, PATIENCE)
        try:
            return tuple(AgentKey(reader.string(), reader.text()) for _ in range(reader.u32()))
        except ProtocolError:
            raise AgentError(f"the ssh-agent at {self._path} lists no keys") from None

    def sign(self, blob: bytes, data: bytes, algorithm: str) -> bytes:
        """A signature over `data` by the private part of `blob`, as SSH sends it."""
        flags = _SIGN_FLAGS.get(algorithm, 0)
        request = bytes((_SIGN_REQUEST,)) + string(blob) + string(data) + u32(flags)
        try:
            return self._ask(request, _SIGN_RESPONSE, SIGN_PATIENCE).string()
        except ProtocolError:
            raise AgentError(f"the ssh-agent at {self._path} sent no signature") from None

    def _ask(self, request: bytes, wanted: int | None, patience: float) -> Reader:
        until = clock.monotonic() + patience
        try:
            self._sock.settimeout(patience)
            self._sock.sendall(string(request))
            size = int.from_bytes(self._read(4, until), "big")
            if not 0 < size <= _MESSAGE_MAX:
                raise AgentError(f"the ssh-agent at {self._path} sent a wrong length")
            answer = self._read(size, until)
        except TimeoutError:
            raise AgentError(
                f"the ssh-agent at {self._path} did not answer within {patience:g} s"
            ) from None
        except OSError as error:
            raise AgentError(f"lost the ssh-agent at {self._path}: {reason(error)}") from None
        if wanted is not None and answer[0] != wanted:
            raise AgentError(f"the ssh-agent at {self._path} refused")
        return Reader(answer, 1)

    def _read(self, count: int, until: float) -> bytes:
        received = b""
        while len(received) < count:
            left = until - clock.monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
            more = self._sock.recv(count - len(received))
            if not more:
                raise ConnectionResetError(None, "it closed the connection")
            received += more
        return received
