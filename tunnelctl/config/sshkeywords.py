"""The keywords of ssh_config(5) that mean something here, and their values as `ssh -G` prints them.

Each converter takes the words of a line, and raises ValueError or KeyError for what is none of its
values.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

from tunnelctl.config.quantities import parse_duration, parse_size

_Convert = Callable[[list[str]], tuple[str, ...]]


def _one(convert: Callable[[str], str]) -> _Convert:
    def read_one(words: list[str]) -> tuple[str, ...]:
        (word,) = words
        return (convert(word),)

    return read_one


def _hostname(word: str) -> str:
    for token in re.findall(r"%(.?)", word):
        if token not in ("h", "%"):
            raise ValueError(word)
    return word


def _port(word: str) -> str:
    number = int(word) if word.isascii() and word.isdigit() else _service(word)
    if not 1 <= number <= 65535:
        raise ValueError(word)
    return str(number)


def _service(word: str) -> int:
    try:
        return socket.getservbyname(word, "tcp")
    except OSError:
        raise ValueError(word) from None


def _seconds(word: str) -> str:
    return str(int(parse_duration(f"{word}s" if word.isdigit() else word.lower())))


def _connect_timeout(words: list[str]) -> tuple[str, ...]:
    """`none` is as if nothing stood there: OpenSSH lets a later value win."""
    return () if words[0].lower() == "none" else _one(_seconds)(words)


def _rekey(words: list[str]) -> tuple[str, ...]:
    size, within = words if len(words) > 1 else (words[0], "none")
    bytes_ = "0" if size.lower() == "default" else str(parse_size(size))
    return (f"{bytes_} {'0' if within.lower() == 'none' else _seconds(within)}",)


def _as_written(words: list[str]) -> tuple[str, ...]:
    """Not judged here, as nothing but an import asks for it."""
    return (" ".join(words),)


_FORWARDS = ("localforward", "remoteforward", "dynamicforward")
_YES_NO = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
_STRICT = {
    **dict.fromkeys(("yes", "true"), "true"),
    **dict.fromkeys(("no", "false", "off"), "false"),
    "ask": "ask",
    "accept-new": "accept-new",
}
_PUBKEY = {
    **{word: word for word in ("true", "false", "unbound", "host-bound")},
    "yes": "true",
    "no": "false",
}
_FAMILIES = {family: family for family in ("any", "inet", "inet6")}
_CANONICALIZE = {**_YES_NO, "always": "always"}

# One way to log in each, that can be turned off; and what it is called there.
AUTHENTICATION_OF = {
    "pubkeyauthentication": "publickey",
    "kbdinteractiveauthentication": "keyboard-interactive",
    "passwordauthentication": "password",
}
# Taken as the rest of the line; the first of them wins over the other.
RAW = ("proxycommand", "proxyjump")
REST_OF_LINE = ("knownhostscommand",)
ADD_UP = ("identityfile", "certificatefile", *_FORWARDS)
KEYWORDS: dict[str, _Convert] = {
    "hostname": _one(_hostname),
    "user": _one(str),
    "port": _one(_port),
    "addressfamily": _one(lambda word: _FAMILIES[word.lower()]),
    "bindaddress": _one(str),
    "bindinterface": _one(str),
    "identityfile": _one(str),
    "certificatefile": _one(str),
    "identitiesonly": _one(lambda word: _YES_NO[word.lower()]),
    "identityagent": _one(str),
    "preferredauthentications": _one(str),
    "pubkeyauthentication": _one(lambda word: _PUBKEY[word.lower()]),
    "kbdinteractiveauthentication": _one(lambda word: _YES_NO[word.lower()]),
    "passwordauthentication": _one(lambda word: _YES_NO[word.lower()]),
    "hostkeyalias": _one(str),
    "userknownhostsfile": tuple,
    "globalknownhostsfile": tuple,
    "revokedhostkeys": _one(str),
    "stricthostkeychecking": _one(lambda word: _STRICT[word.lower()]),
    "serveraliveinterval": _one(_seconds),
    "serveralivecountmax": _one(lambda word: str(int(word))),
    "connecttimeout": _connect_timeout,
    "ciphers": _one(str),
    "kexalgorithms": _one(str),
    "macs": _one(str),
    "hostkeyalgorithms": _one(str),
    "rekeylimit": _rekey,
    "proxyusefdpass": _one(lambda word: _YES_NO[word.lower()]),
    "canonicalizehostname": _one(lambda word: _CANONICALIZE[word.lower()]),
    **dict.fromkeys((*_FORWARDS, "gatewayports", "permitremoteopen"), _as_written),
}
# What is forwarded. A profile says that itself, so only an import asks for it.
FORWARDING = frozenset({*_FORWARDS, "gatewayports", "permitremoteopen"})
# What can change how a host is reached; files without any of it need not be asked at all.
RELEVANT = frozenset({*KEYWORDS, *RAW, *REST_OF_LINE}) - FORWARDING
