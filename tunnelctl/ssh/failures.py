"""Foreign exceptions into `Failure`: the one table of this floor.

Owns what a socket error, a resolver error, a paramiko exception or a broken stream means, by the
stage in which it came, and the sentence and hint that people read. Must never quote a secret,
and never let text of the server reach a terminal unescaped.

paramiko reports a lost network during authentication as `AuthenticationException`, so a class
name is not trusted there: whether the peer answered decides, never the class.
"""

from __future__ import annotations

import errno
import os
import shlex
import socket
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from paramiko.ssh_exception import IncompatiblePeer, SSHException

from tunnelctl.errors import Code, Failure, printable
from tunnelctl.net.files import FileSilent
from tunnelctl.spec.host import AddressFamily, Host

# The longest piece of a server's text that is quoted in one message, in characters.
_QUOTED = 200
# sshd's PerSourcePenalties (sshd_config(5)) add up while we knock: seconds to leave it alone.
_PENALTY_PAUSE = 60.0


class DeadlinePassed(SSHException):
    """The peer did not finish a step of the handshake in time."""


class During(StrEnum):
    """What was being done, in the words of a message."""

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
    # Taken and thrown out before connect(2) had returned.
    errno.ECONNRESET: Code.HANDSHAKE_FAILED,
    errno.ECONNABORTED: Code.HANDSHAKE_FAILED,
    # What a firewall on this machine says (connect(2)).
    errno.EACCES: Code.UNREACHABLE,
    errno.EPERM: Code.UNREACHABLE,
}
# Several addresses failed in several ways: the answer that came from farthest away is the one to
# show. A refusal is an answer of the host itself; "no route" may only mean that we have no IPv6.
_TELLING = (Code.HANDSHAKE_FAILED, Code.CONNECTION_REFUSED, Code.TIMED_OUT, Code.UNREACHABLE)

# What sshd says before it closes on somebody whom it does not want now (sshd.c, srclimit.c):
# its words in lower case, what they mean, what to do, and seconds to leave it alone.
_TURNED_AWAY = (
    (
        "not allowed at this time",
        "the server refuses this machine for a while",
        "it saw too many failed logins from here (sshd PerSourcePenalties); it passes by itself",
        _PENALTY_PAUSE,
    ),
    (
        "exceeded maxstartups",
        "the server has too many logins under way",
        "it passes by itself; otherwise raise MaxStartups in its sshd_config",
        0.0,
    ),
)


def label(host: Host) -> str:
    """How messages name a host: `bastion (bastion.example.com:22)`."""
    return host.address if host.name == host.hostname else f"{host.name} ({host.address})"


def excerpt(text: str, length: int = _QUOTED) -> str:
    """The beginning of a server's text, printable, for one line of a message."""
    return printable(text[:length]) + ("…" if len(text) > length else "")


def resolve_failure(host: Host, error: Exception) -> Failure:
    """What getaddrinfo(3) said of the host name."""
    check = f"getent hosts {shlex.quote(host.hostname)}"
    if isinstance(error, UnicodeError):
        return Failure(
            Code.NAME_NOT_FOUND,
            f"{label(host)}: {host.hostname!r} cannot be a host name",
            "correct hostname in the profile",
            retryable=False,
        )
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return Failure(
            Code.NAME_NOT_FOUND,
            f"{label(host)}: the name service does not answer for {host.hostname}",
            f"check the network and DNS of this machine: {check}",
        )
    kind, also = "", ""
    if host.address_family is not AddressFamily.ANY:
        kind, also = f" of the family {host.address_family}", "address_family, "
    return Failure(
        Code.NAME_NOT_FOUND,
        f"{label(host)}: the name {host.hostname} has no address{kind}",
        f"check {also}the spelling of hostname, and DNS: {check}",
    )


def bind_failure(host: Host) -> Failure:
    """Connections cannot leave from where the profile or ssh_config wants them to."""
    return Failure(
        Code.UNREACHABLE,
        f"{label(host)}: bind_address {host.bind_address} is no address of this machine",
        "correct bind_address in the profile, or BindAddress in ssh_config: ip address",
    )


def timed_out(host: Host, doing: str) -> Failure:
    """The absolute deadline of a connection attempt passed while `doing` something."""
    return Failure(
        Code.TIMED_OUT,
        f"{label(host)}: no answer within {host.connect_timeout:g} s while {doing}",
        "check the network, or give it longer with connect_timeout",
    )


def silent_file(host: Host, what: str, path: Path, error: FileSilent) -> Failure:
    """A file that decides whether the server is who it says, called `what`, does not answer."""
    return Failure(
        Code.TIMED_OUT,
        f"{label(host)}: {what} {path}: {error.strerror}",
        f"see that this ends: cat {shlex.quote(str(path))}",
    )


def dial_failure(host: Host, errors: Sequence[tuple[str, OSError]]) -> Failure:
    """Why no address of the host could be connected to.

    `errors` has for each address tried, as `address:port`, what connect(2) said.
    """
    codes = {_BY_ERRNO.get(error.errno or 0, Code.UNREACHABLE) for _, error in errors}
    code = next((c for c in _TELLING if c in codes), Code.UNREACHABLE)
    telling = [pair for pair in errors if _BY_ERRNO.get(pair[1].errno or 0) is code] or errors
    where = ", ".join(dict.fromkeys(address for address, _ in telling))
    if code is Code.CONNECTION_REFUSED:
        what = f"connection refused by {where}"
        hint = f"check that an SSH server runs there and that {host.port} is its port"
    elif code is Code.TIMED_OUT:
        return timed_out(host, f"connecting to {where}")
    elif code is Code.HANDSHAKE_FAILED:
        what = f"connection reset by {where}"
        hint = f"check that an SSH server listens on port {host.port}, and see its log"
    else:
        number = telling[0][1].errno
        if number == errno.EADDRNOTAVAIL and host.bind_address is not None:
            return bind_failure(host)
        # asyncio puts a text of its own where the system's would be.
        what = f"cannot reach {where}: {os.strerror(number) if number else telling[0][1]}"
        hint = "check the network, the VPN and the firewall of this machine"
    return Failure(code, f"{label(host)}: {what}", hint)


def peer_failure(
    host: Host, error: BaseException | None, during: During, said: str = ""
) -> Failure:
    """Why a connected server is no longer there, or cannot be talked to.

    `error` is what ended the Transport's thread (None: it ended in good order), `said` is what
    the server told us in words: a DISCONNECT, or the first line when no version line came.
    """
    if isinstance(error, DeadlinePassed | TimeoutError):
        return timed_out(host, during)
    if isinstance(error, IncompatiblePeer):
        return Failure(
            Code.INCOMPATIBLE_PEER,
            f"{label(host)}: {excerpt(str(error))}",
            "check that this is an SSH server, and not one that is too old",
        )
    for words, meaning, hint, pause in _TURNED_AWAY:
        if words in said.lower():
            what = f'{meaning}: it said "{excerpt(said)}"'
            return Failure(Code.HANDSHAKE_FAILED, f"{label(host)}: {what}", hint, retry_after=pause)
    quoted = f': it said "{excerpt(said)}"' if said else ""
    lost = during is During.SESSION
    return Failure(
        Code.SESSION_LOST if lost else Code.HANDSHAKE_FAILED,
        f"{label(host)}: {_sentence(error)} while {during}{quoted}",
        "it is connected again by itself"
        if lost
        else f"check that an SSH server listens on port {host.port}, and see its log",
    )


def _sentence(cause: BaseException | None) -> str:
    if cause is None or isinstance(cause, EOFError):
        return "the server closed the connection"
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return "the connection was reset"
    if isinstance(cause, OSError):
        return f"the connection broke ({cause.strerror or cause})"
    return f"the server broke the protocol ({excerpt(str(cause) or type(cause).__name__)})"
