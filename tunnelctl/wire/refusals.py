"""The meaning of a refused channel, for any server (RFC 4254 section 5.1).

The reason code only says that connecting failed; the cause is in the description, in the words of
the server's system or library. Owns the only table of these words. Must never take the name of a
target for a cause.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from tunnelctl.wire.messages import OpenFailure


class Refusal(Enum):
    """The reason for a refused channel; the value is a phrase for it."""

    PROHIBITED = "administratively prohibited"
    UNKNOWN_TYPE = "unknown channel type"
    SHORTAGE = "resource shortage"
    REFUSED = "connection refused"
    NO_NAME = "name not found"
    TIMED_OUT = "connection timed out"
    HOST_UNREACHABLE = "host unreachable"
    NETWORK_UNREACHABLE = "network unreachable"
    UNTOLD = "no cause that is known here"


_BY_REASON: Final[dict[int, Refusal]] = {
    OpenFailure.ADMINISTRATIVELY_PROHIBITED: Refusal.PROHIBITED,
    OpenFailure.UNKNOWN_CHANNEL_TYPE: Refusal.UNKNOWN_TYPE,
    OpenFailure.RESOURCE_SHORTAGE: Refusal.SHORTAGE,
}
# In lower case. OpenSSH, Dropbear and ProFTPD send strerror(3) and gai_strerror(3) of glibc, musl
# or a BSD; Go, Erlang, Node and Java the texts of their libraries.
_WORDS: Final = {
    "connection refused": Refusal.REFUSED,
    "econnrefused": Refusal.REFUSED,
    "actively refused": Refusal.REFUSED,  # Windows
    "no such file or directory": Refusal.REFUSED,  # a unix socket that nobody listens on
    "enoent": Refusal.REFUSED,
    "not known": Refusal.NO_NAME,
    "no such host": Refusal.NO_NAME,  # Go, Windows
    "name resolution": Refusal.NO_NAME,
    "name does not resolve": Refusal.NO_NAME,  # musl
    "no address": Refusal.NO_NAME,
    "nxdomain": Refusal.NO_NAME,
    "enotfound": Refusal.NO_NAME,
    "eai_again": Refusal.NO_NAME,
    "unknownhostexception": Refusal.NO_NAME,
    "unresolvedaddressexception": Refusal.NO_NAME,
    "timed out": Refusal.TIMED_OUT,
    "timeout": Refusal.TIMED_OUT,
    "etimedout": Refusal.TIMED_OUT,
    "no route to host": Refusal.HOST_UNREACHABLE,
    "host is unreachable": Refusal.HOST_UNREACHABLE,  # musl
    "host is down": Refusal.HOST_UNREACHABLE,
    "ehostunreach": Refusal.HOST_UNREACHABLE,
    "network is unreachable": Refusal.NETWORK_UNREACHABLE,
    "network unreachable": Refusal.NETWORK_UNREACHABLE,
    "unreachable network": Refusal.NETWORK_UNREACHABLE,  # Windows
    "enetunreach": Refusal.NETWORK_UNREACHABLE,
}
# Python's asyncio replaces the system's text by its own: "[Errno 111] Connect call failed". The
# numbers of Linux, of macOS and the BSDs, and of Windows.
_NUMBERS: Final = {
    **dict.fromkeys(("111", "61", "10061"), Refusal.REFUSED),
    **dict.fromkeys(("110", "60", "10060"), Refusal.TIMED_OUT),
    **dict.fromkeys(("113", "65", "10065"), Refusal.HOST_UNREACHABLE),
    **dict.fromkeys(("101", "51", "10051"), Refusal.NETWORK_UNREACHABLE),
}
_ANY_WORDS: Final = re.compile("|".join(map(re.escape, sorted(_WORDS, key=len, reverse=True))))
_ANY_NUMBER: Final = re.compile(r"\[(?:errno|winerror) (\d+)\]")
# The prefix of Erlang's server before every cause.
_ERLANG: Final = "Forwarded connection refused: "


def refusal(reason: int, description: str) -> Refusal:
    """The meaning of SSH_MSG_CHANNEL_OPEN_FAILURE."""
    if reason == OpenFailure.CONNECT_FAILED:
        return cause(description)
    return _BY_REASON.get(reason, Refusal.UNTOLD)


def cause(text: str) -> Refusal:
    """The cause at the end of `text`; the name of a target may be before it."""
    said = _cut(text).lower()
    if words := _ANY_WORDS.findall(said):
        return _WORDS[words[-1]]
    causes = {_NUMBERS.get(number) for number in _ANY_NUMBER.findall(said)} - {None}
    # Of several addresses, a refusal is the answer from farthest away.
    if Refusal.REFUSED in causes:
        return Refusal.REFUSED
    return next(iter(causes), None) or Refusal.UNTOLD


def in_words(reason: int, description: str) -> str:
    """The refusal for people: the server's description, with its meaning if that is a number or the
    name of an error."""
    said = _cut(description)
    if not said:
        return "the server does not say why"
    meaning = refusal(reason, said)
    is_plain = " " in said and not _ANY_NUMBER.search(said.lower())
    if is_plain or meaning is Refusal.UNTOLD or meaning.value in said.lower():
        return said
    return f"{meaning.value} ({said})"


def _cut(description: str) -> str:
    return description.strip().removeprefix(_ERLANG)
