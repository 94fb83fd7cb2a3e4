"""Translates exceptions to `Failure`: the only table of this floor.

Owns the meaning of a socket error, a resolver error, a paramiko exception or a broken stream, by
the stage in which it came. The messages are in sentences.py.

paramiko reports a lost network during authentication as `AuthenticationException`, so the class is
not trusted there: whether the peer answered decides.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from enum import StrEnum

from paramiko.ssh_exception import IncompatiblePeer, SSHException

from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host
from tunnelctl.ssh import sentences
from tunnelctl.ssh.sentences import excerpt


class DeadlinePassed(SSHException):
    """The peer did not finish a step of the handshake in time."""


class During(StrEnum):
    """The stage of a login, as messages name it."""

    KEY_EXCHANGE = "exchanging keys"
    AUTHENTICATION = "authenticating"
    SESSION = "the session was open"


_BY_ERRNO: dict[int, Code] = {
    errno.ECONNREFUSED: Code.CONNECTION_REFUSED,
    errno.ETIMEDOUT: Code.TIMED_OUT,
    errno.EHOSTUNREACH: Code.UNREACHABLE,
    errno.ENETUNREACH: Code.UNREACHABLE,
    errno.EHOSTDOWN: Code.UNREACHABLE,
    errno.ENETDOWN: Code.UNREACHABLE,
    errno.EADDRNOTAVAIL: Code.UNREACHABLE,
    errno.EAFNOSUPPORT: Code.UNREACHABLE,
    # Accepted and closed before connect(2) had returned.
    errno.ECONNRESET: Code.HANDSHAKE_FAILED,
    errno.ECONNABORTED: Code.HANDSHAKE_FAILED,
    # The error of a firewall on this machine (connect(2)).
    errno.EACCES: Code.UNREACHABLE,
    errno.EPERM: Code.UNREACHABLE,
}
# Several addresses failed in several ways: the answer from farthest away is reported. A refusal is
# an answer of the host itself; "no route" may only mean that we have no IPv6.
_TELLING = (Code.HANDSHAKE_FAILED, Code.CONNECTION_REFUSED, Code.TIMED_OUT, Code.UNREACHABLE)

# The lines that sshd sends before it closes the connection of a client that it refuses now (sshd.c,
# srclimit.c), in lower case, with their meaning.
_TURNED_AWAY = (
    ("not allowed at this time", sentences.turned_away),
    ("exceeded maxstartups", sentences.too_many_logins),
)


def resolve_failure(host: Host, error: Exception) -> Failure:
    """The failure of getaddrinfo(3) for the host name."""
    if isinstance(error, UnicodeError):
        return sentences.invalid_host_name(host)
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return sentences.name_service_silent(host)
    return sentences.no_address(host)


def dial_failure(host: Host, errors: Sequence[tuple[str, OSError]]) -> Failure:
    """The failure for a host of which no address could be connected to.

    `errors` has the error of connect(2) for each address tried, as `address:port`.
    """
    codes = {_BY_ERRNO.get(error.errno or 0, Code.UNREACHABLE) for _, error in errors}
    code = next((c for c in _TELLING if c in codes), Code.UNREACHABLE)
    telling = [pair for pair in errors if _BY_ERRNO.get(pair[1].errno or 0) is code] or errors
    where = ", ".join(dict.fromkeys(address for address, _ in telling))
    if code is Code.CONNECTION_REFUSED:
        return sentences.connection_refused(host, where)
    if code is Code.TIMED_OUT:
        return sentences.no_answer(host, f"connecting to {where}")
    if code is Code.HANDSHAKE_FAILED:
        return sentences.connection_reset(host, where)
    number = telling[0][1].errno
    if number == errno.EADDRNOTAVAIL and host.bind_address is not None:
        return sentences.no_such_bind_address(host)
    # asyncio replaces the system's text by its own.
    return sentences.unreachable(host, where, os.strerror(number) if number else str(telling[0][1]))


def peer_failure(
    host: Host, error: BaseException | None, during: During, said: str = ""
) -> Failure:
    """The failure for a connected server that is gone, or cannot be talked to.

    `error` is what ended the Transport's thread (None: a clean end), `said` is the message of the
    server: a DISCONNECT, or the first line if there was no version line.
    """
    if isinstance(error, DeadlinePassed | TimeoutError):
        return sentences.no_answer(host, during)
    if isinstance(error, IncompatiblePeer):
        return sentences.not_an_ssh_server(host, str(error))
    for words, meaning in _TURNED_AWAY:
        if words in said.lower():
            return meaning(host, said)
    ended = sentences.handshake_ended
    if during is During.SESSION:
        ended = sentences.session_ended
    return ended(host, _how(error), during, said)


def _how(cause: BaseException | None) -> str:
    if cause is None or isinstance(cause, EOFError):
        return "the server closed the connection"
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return "the connection was reset"
    if isinstance(cause, OSError):
        return f"the connection broke ({cause.strerror or cause})"
    return f"protocol error ({excerpt(str(cause) or type(cause).__name__)})"
