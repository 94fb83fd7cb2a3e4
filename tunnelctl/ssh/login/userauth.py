"""The client's side of RFC 4252: one request to the server at a time, and its answer.

paramiko's Transport calls this with the messages; its own `AuthHandler` is not used, because it
keeps the password, signs in the Transport's thread (where an agent that hangs would block the
connection), never asks whether a key would be accepted before it is unlocked, and does not say
which methods the server would still accept.

Must never keep a secret after it was sent, and never wait beyond the deadline.
"""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable, Sequence
from enum import Enum, auto

import paramiko
from paramiko.auth_handler import AuthHandler

from tunnelctl import clock
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.ssh.keys.certificates import certified, is_certified, plain
from tunnelctl.ssh.keys.key_files import Identity
from tunnelctl.ssh.keys.signatures import algorithms_of
from tunnelctl.ssh.login.client_transport import ClientTransport
from tunnelctl.wire.messages import Message, Reader, string, u32

_SERVICE_ACCEPT = 6
_REQUEST = 50
_FAILURE = 51
_BANNER = 53
# PK_OK, PASSWD_CHANGEREQ or INFO_REQUEST, depending on the request.
_METHOD_SPECIFIC = 60
_INFO_RESPONSE = 61
_SERVICE = "ssh-userauth"
_FOR = "ssh-connection"
_HOST_BOUND = "publickey-hostbound@openssh.com"
_HOST_BOUND_METHOD = "publickey-hostbound-v00@openssh.com"
# One request is open at a time: a server that sends more answers than this is faulty.
_ANSWERS_MAX = 4
# How often to check whether the Transport's thread is alive, in seconds. It reports the end of the
# connection itself; this is for a connection that was closed by another thread.
_GLANCE = 0.5
# How many rounds and prompts a server may send (RFC 4256 sets no limits).
_ROUNDS_MAX = 32
_PROMPTS_MAX = 32


class Answer(Enum):
    """The result of one request."""

    ACCEPTED = auto()  # logged in
    FURTHER = auto()  # accepted, but the server requires another method too
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a server (RFC 4256 section 3.2), in its own words."""

    text: str
    echo: bool  # the answer may be visible while it is typed


@dataclass(frozen=True, slots=True)
class InfoRequest:
    """The prompts that a server sends together, in its own words; there may be none."""

    name: str
    instruction: str
    prompts: tuple[Prompt, ...]


class Disconnected(Exception):
    """The connection ended while an answer of the server was due."""


class UserAuth(AuthHandler):
    """Logs `user` in over `transport`. Blocking; every wait ends at the transport's deadline.

    Raises:
        Disconnected: from every request.
        TimeoutError: from every request.
        paramiko.SSHException: from every request, if the server's answer does not fit it.
    """

    def __init__(self, transport: ClientTransport, user: str) -> None:
        super().__init__(transport)
        self.username = user
        self.methods: tuple[str, ...] = ()  # that may continue, after a refusal
        self.password_expired = False
        self._client = transport
        self._user = user
        # Filled by the Transport's thread only. The object that holds the queue lives as long as
        # the link.
        self._answers: queue.SimpleQueue[tuple[int, Reader] | None] = queue.SimpleQueue()

    # Requests, from the caller's thread.

    def begin(self) -> Answer:
        """Request the service, and the list of methods (RFC 4252 section 5.2).

        A server that requires no authentication answers `ACCEPTED`.
        """
        self._client.auth_handler = self
        self._send(bytes((Message.SERVICE_REQUEST,)) + string(_SERVICE))
        self._wait(_SERVICE_ACCEPT)
        return self._request("none")

    def would_accept(self, identity: Identity, algorithm: str) -> bool:
        """Ask about a key without signing (section 7): neither an agent nor a person is
        involved."""
        fields = b"\0" + _named(identity, algorithm)
        self._send(self._message("publickey", fields))
        number, reader = self._wait(_FAILURE, _METHOD_SPECIFIC)
        if number == _FAILURE:
            self._refused(reader)
        return number == _METHOD_SPECIFIC

    def send_key(self, identity: Identity, algorithm: str) -> Answer:
        """Log in with a key that the server would accept.

        If the server supports it, the host key is signed too (OpenSSH PROTOCOL section 3.1): an
        agent that is itself forwarded to this machine requires that for a key bound to hosts.
        """
        session = self._client.session
        method, fields = "publickey", b"\1" + _named(identity, algorithm)
        if self._client.server_extensions.get(_HOST_BOUND) == b"0":
            method, fields = _HOST_BOUND_METHOD, fields + string(session.host_key)
        signed = string(session.session_id) + self._message(method, fields)
        return self._request(method, fields + string(identity.sign(signed, algorithm)))

    def send_password(self, password: str) -> Answer:
        """Log in with a password (section 8); an expired one is not changed."""
        return self._request("password", b"\0" + string(password))

    def converse(self, reply: Callable[[InfoRequest], Sequence[str] | None]) -> Answer | None:
        """Log in with keyboard-interactive (RFC 4256): `reply` answers each request, in order.

        None: `reply` had no answer, and the method was aborted; another may be tried.
        """
        fields = string("") + string("")  # no language, no preferred submethods
        self._send(self._message("keyboard-interactive", fields))
        for _ in range(_ROUNDS_MAX):
            number, reader = self._wait(_FAILURE, _METHOD_SPECIFIC, Message.USERAUTH_SUCCESS)
            if number == Message.USERAUTH_SUCCESS:
                return Answer.ACCEPTED
            if number == _FAILURE:
                return self._refused(reader)
            answers = reply(_info_request(reader))
            if answers is None:
                return None
            self._send(
                bytes((_INFO_RESPONSE,)) + u32(len(answers)) + b"".join(map(string, answers))
            )
        raise paramiko.SSHException("the server asks without end")

    def algorithm_for(self, identity: Identity) -> str | None:
        """The signature algorithm for a key: chosen by RFC 8308 if an RSA key has several.

        None: the server accepts no signature that this key may make.
        """
        ours = algorithms_of(plain(identity.key_type))
        listed = self._client.server_extensions.get("server-sig-algs", b"")
        if len(ours) == 1 or not listed:
            return ours[0]
        theirs = listed.decode("utf-8", "replace").split(",")
        return next((name for name in ours if name in theirs), None)

    # Called by the Transport's thread.

    @property
    def _client_handler_table(self) -> dict[int, Callable[[paramiko.Message], None]]:
        numbers = (_SERVICE_ACCEPT, _FAILURE, _METHOD_SPECIFIC, Message.USERAUTH_SUCCESS)
        table: dict[int, Callable[[paramiko.Message], None]] = {
            number: functools.partial(self._answered, number) for number in numbers
        }
        table[_BANNER] = self._ignore
        return table

    def abort(self) -> None:
        """The Transport's thread ends."""
        self._answers.put(None)

    def _answered(self, number: int, message: paramiko.Message) -> None:
        if number == Message.USERAUTH_SUCCESS:
            self.authenticated = self._client.authenticated = True
        if self._answers.qsize() >= _ANSWERS_MAX:
            raise paramiko.SSHException("the server answered a request that was not made")
        self._answers.put((number, Reader(message.asbytes())))

    def _ignore(self, message: paramiko.Message) -> None:
        """A banner for a person at a terminal (section 5.4)."""

    # How a request is sent.

    def _message(self, method: str, fields: bytes = b"") -> bytes:
        head = bytes((_REQUEST,)) + string(self._user) + string(_FOR) + string(method)
        return head + fields

    def _request(self, method: str, fields: bytes = b"") -> Answer:
        self._send(self._message(method, fields))
        number, reader = self._wait(_FAILURE, _METHOD_SPECIFIC, Message.USERAUTH_SUCCESS)
        if number == Message.USERAUTH_SUCCESS:
            return Answer.ACCEPTED
        if number == _METHOD_SPECIFIC:
            self.password_expired = method == "password"
            return Answer.REFUSED
        return self._refused(reader)

    def _refused(self, reader: Reader) -> Answer:
        """SSH_MSG_USERAUTH_FAILURE (section 5.1)."""
        self.methods = tuple(name for name in reader.text().split(",") if name)
        return Answer.FURTHER if reader.boolean() else Answer.REFUSED

    def _send(self, payload: bytes) -> None:
        try:
            self._client.packetizer.send_message(paramiko.Message(payload))
        except (OSError, EOFError, paramiko.SSHException):
            # The reading side knows the cause; let it report it.
            if self._seconds_left() <= 0:
                raise TimeoutError from None
            raise Disconnected from None

    def _seconds_left(self) -> float:
        deadline = self._client.deadline
        return _GLANCE if deadline is None else deadline - clock.monotonic()

    def _wait(self, *expected: int) -> tuple[int, Reader]:
        while True:
            left = self._seconds_left()
            if left <= 0:
                raise TimeoutError
            try:
                answer = self._answers.get(timeout=min(left, _GLANCE))
            except queue.Empty:
                if not self._client.is_alive():
                    raise Disconnected from None
                continue
            if answer is None:
                raise Disconnected
            if answer[0] not in expected:
                raise paramiko.SSHException(f"message {answer[0]} out of turn")
            return answer


def _named(identity: Identity, algorithm: str) -> bytes:
    """A key as a request names it; a certificate has its own algorithm name (PROTOCOL)."""
    named = certified(algorithm) if is_certified(identity.key_type) else algorithm
    return string(named) + string(identity.blob)


def _info_request(reader: Reader) -> InfoRequest:
    """SSH_MSG_USERAUTH_INFO_REQUEST (RFC 4256 section 3.2)."""
    name, instruction = reader.text(), reader.text()
    reader.string()  # the language
    count = reader.u32()
    if count > _PROMPTS_MAX:
        raise paramiko.SSHException(f"the server asks {count} things at once")
    prompts = tuple(Prompt(reader.text(), reader.boolean()) for _ in range(count))
    return InfoRequest(name, instruction, prompts)
