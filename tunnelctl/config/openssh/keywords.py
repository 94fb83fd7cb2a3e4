"""The keywords of ssh_config(5), as OpenSSH 10.5 and its packagers know them, and their values.

Owns the valid values, and how `ssh -G` prints them (readconf.c, process_config_line_depth). Each
converter takes the words of a line, and raises ValueError, KeyError or IndexError for an invalid
value. Algorithms are not checked, because they depend on the version.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from functools import partial

from tunnelctl.config.openssh.lines import lowercase

Convert = Callable[[list[str]], tuple[str, ...]]

_MOST = 2**31 - 1  # INT_MAX
_SPAN = re.compile(r"(?:[0-9]+(?:[smhdw]|$))+|[0-9]*\.[0-9]+s?", re.IGNORECASE)
_PART = re.compile(r"([0-9]+)([smhdw]?)", re.IGNORECASE)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = re.compile(
    r"([0-9]{1,18})(?:\.([0-9]{0,18}))?(?:([BKMGTPE])(?![A-Z0-9]).*)?", re.IGNORECASE
)
_SIZE_UNITS: dict[str, int] = {unit: 1024**power for power, unit in enumerate("bkmgtpe")}
_NAMES = re.compile(r"[+^]?[!-+\--~]+(?:,[!-+\--~]+)*")
_PLACE = re.compile(r"(?:\[[^]]*\]|[^[:/][^:/]*)(?::(?P<port>[^/]*))?")
_LEAST_REKEY_LIMIT = 16
_LEGACY_VARIABLE = re.compile(r"\$(?:[A-Za-z0-9_]+|\{[^}]+\}.*)|[^$].*", re.DOTALL)


def _one(convert: Callable[[str], str]) -> Convert:
    def read_one(words: list[str]) -> tuple[str, ...]:
        (word,) = words
        if not word:
            raise ValueError(word)
        return (convert(word),)

    return read_one


def _choice(values: Mapping[str, str]) -> Convert:
    return _one(lambda word: values[lowercase(word)])


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
    """convtime of OpenSSH's misc.c; fractions of a second are dropped."""
    if _SPAN.fullmatch(word) is None:
        raise ValueError(word)
    if "." in word:
        return word.partition(".")[0] or "0"
    total = sum(int(n) * _UNITS[unit.lower()] for n, unit in _PART.findall(word))
    return _checked(total)


def _checked(number: int) -> str:
    if number > _MOST:
        raise ValueError(number)
    return str(number)


def _number(word: str) -> str:
    if not (word.isascii() and word.isdigit()):
        raise ValueError(word)
    return _checked(int(word))


def _time(words: list[str]) -> tuple[str, ...]:
    """`none` counts as not set: OpenSSH lets a later value win."""
    return () if words == ["none"] else _one(_seconds)(words)


def _scaled(word: str) -> int:
    """Bytes; scan_scaled of OpenSSH's fmt_scaled.c."""
    found = _SIZE.fullmatch(word)
    if found is None:
        raise ValueError(word)
    whole, fraction, unit = int(found[1]), found[2] or "0", _SIZE_UNITS[(found[3] or "b").lower()]
    part: int = int(fraction) * unit // 10 ** len(fraction)
    return whole * unit + part


def _rekey(words: list[str]) -> tuple[str, ...]:
    """Bytes, and seconds if they are set: two options of OpenSSH, whose first values win apart."""
    size, *within = words
    bytes_ = 0 if size == "default" else _scaled(size)
    if 0 < bytes_ < _LEAST_REKEY_LIMIT:
        raise ValueError(size)
    return (str(bytes_), *(_time(within) if within else ()))


def check_hops(text: str) -> None:
    """Check that the value of ProxyJump is `none` or hops, `[user@]host[:port]` or ssh://, with
    commas.

    Raises:
        ValueError: it is not.
    """
    if lowercase(text) == "none":
        return
    for hop in text.split(","):
        user, at, place = hop.removeprefix("ssh://").rpartition("@")
        found = _PLACE.fullmatch(place.removesuffix("/") if hop.startswith("ssh://") else place)
        if found is None or (at and not user):
            raise ValueError(hop)
        if found["port"]:
            _port(found["port"])


def _several(words: list[str]) -> tuple[str, ...]:
    """Words, or `none`."""
    if not all(words) or (len(words) > 1 and "none" in map(lowercase, words)):
        raise ValueError(words)
    return tuple(words)


def _agent(word: str) -> str:
    """A path or a variable; readconf.c, parse_agent_path."""
    if _LEGACY_VARIABLE.fullmatch(word) is None:
        raise ValueError(word)
    return word


def _algorithms(word: str) -> str:
    """Names with commas; the known names depend on the version, but all are ASCII."""
    if not word.startswith("-") and _NAMES.fullmatch(word) is None:
        raise ValueError(word)
    return word


def _upto(limit: int, words: list[str]) -> tuple[str, ...]:
    """Not checked here, because only an import uses it."""
    if not 1 <= len(words) <= limit or not words[0]:
        raise ValueError(words)
    return (" ".join(words),)


def _forward(least: int, most: int, words: list[str]) -> tuple[str, ...]:
    """As -L, -R and -D: ssh joins the words by a colon too (readconf.c, LocalForward)."""
    if not least <= len(words) <= most or not all(words):
        raise ValueError(words)
    return (":".join(words),)


def _any(_words: list[str]) -> tuple[str, ...]:
    """Ignored by OpenSSH, whatever its value."""
    return ()


def _only(*values: str) -> Convert:
    return _choice({word: word for word in values})


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
_flag = _choice(_YES_NO)
_text = _one(str)

# Authentication methods that can be turned off, with their names.
AUTHENTICATION_OF = {
    "pubkeyauthentication": "publickey",
    "kbdinteractiveauthentication": "keyboard-interactive",
    "passwordauthentication": "password",
}
# Taken as the rest of the line; the first one wins over the other.
RAW = ("proxycommand", "proxyjump")
REST_OF_LINE = ("knownhostscommand", "localcommand", "remotecommand", "versionaddendum")
FORWARDS = ("localforward", "remoteforward", "dynamicforward")
ADD_UP = ("identityfile", "certificatefile", *FORWARDS)
# Forwards, and what changes their meaning. A profile has its own forwards, so only an import and a
# command line of ssh use these. AddressFamily also applies to the connection.
_OF_BOTH = frozenset({"addressfamily"})
FORWARDING = (
    frozenset({*FORWARDS, "clearallforwardings", "gatewayports", "permitremoteopen"}) | _OF_BOTH
)
_MEANT: dict[str, Convert] = {
    "hostname": _text,
    "user": _text,
    "port": _one(_port),
    "addressfamily": _only("any", "inet", "inet6"),
    "bindaddress": _text,
    "bindinterface": _text,
    "identityfile": _text,
    "certificatefile": _text,
    "identitiesonly": _flag,
    "identityagent": _one(_agent),
    "pkcs11provider": _text,
    "preferredauthentications": _text,
    "pubkeyauthentication": _choice(_PUBKEY),
    "kbdinteractiveauthentication": _flag,
    "passwordauthentication": _flag,
    "hostkeyalias": _text,
    "userknownhostsfile": _several,
    "globalknownhostsfile": _several,
    "revokedhostkeys": _several,
    "stricthostkeychecking": _choice(_STRICT),
    "serveraliveinterval": _time,
    "serveralivecountmax": _one(_number),
    "connecttimeout": _time,
    "ciphers": _one(_algorithms),
    "kexalgorithms": _one(_algorithms),
    "macs": _one(_algorithms),
    "hostkeyalgorithms": _one(_algorithms),
    "rekeylimit": _rekey,
    "proxyusefdpass": _flag,
    "canonicalizehostname": _choice({**_YES_NO, "always": "always"}),
    "canonicalizepermittedcnames": _several,
    "refuseconnection": _text,
    "ignoreunknown": _text,
    "localforward": partial(_forward, 2, 2),
    "remoteforward": partial(_forward, 1, 2),
    "dynamicforward": partial(_forward, 1, 1),
    "clearallforwardings": _flag,
    "gatewayports": _flag,
    "permitremoteopen": lambda words: (" ".join(_several(words)),),
}
# Keywords that can change the way to a host; files without any of them need not be read.
RELEVANT = (
    frozenset({*_MEANT, *RAW, "knownhostscommand"}) - FORWARDING - {"ignoreunknown"} | _OF_BOTH
)

_FLAGS = (
    *("batchmode", "checkhostip", "enableescapecommandline"),
    *("enablesshkeysign", "exitonforwardfailure", "forkafterauthentication", "forwardx11"),
    *("forwardx11trusted", "gssapiauthentication", "gssapidelegatecredentials"),
    *("hashknownhosts", "hostbasedauthentication", "nohostauthenticationforlocalhost"),
    *("permitlocalcommand", "stdinnull", "streamlocalbindunlink", "tcpkeepalive"),
    *("visualhostkey", "canonicalizefallbacklocal"),
)
_TEXTS = (
    *("casignaturealgorithms", "controlpath", "controlpersist", "escapechar", "fingerprinthash"),
    *("forwardagent", "hostbasedacceptedalgorithms", "kbdinteractivedevices", "loglevel"),
    *("pubkeyacceptedalgorithms", "securitykeyprovider", "streamlocalbindmask"),
    *("syslogfacility", "tag", "tunneldevice", "xauthlocation"),
)
_NUMBERS = (
    *("canonicalizemaxdots", "connectionattempts", "numberofpasswordprompts"),
    "requiredrsasize",
)
_LISTS = ("canonicaldomains", "channeltimeout", "logverbose", "sendenv", "setenv")
_PASSED_OVER = (
    # Keywords that OpenSSH knows as obsolete, or as unsupported in this build.
    *("protocol", "cipher", "fallbacktorsh", "globalknownhostsfile2", "rhostsauthentication"),
    *("userknownhostsfile2", "useroaming", "usersh", "useprivilegedport", "afstokenpassing"),
    *("kerberosauthentication", "kerberostgtpassing", "rsaauthentication"),
    *("rhostsrsaauthentication", "compressionlevel"),
    # Additional keywords of Debian, Ubuntu, Fedora and their derivatives.
    *("gssapikeyexchange", "gssapitrustdns", "gssapiclientidentity", "gssapiserveridentity"),
    *("gssapirenewalforcesrekey", "gssapikexalgorithms", "protocolkeepalives", "setuptimeout"),
    *("useblacklistedkeys", "rsaminsize"),
)
KEYWORDS: dict[str, Convert] = {
    **_MEANT,
    **dict.fromkeys(_FLAGS, _flag),
    **dict.fromkeys(_TEXTS, _text),
    **dict.fromkeys(_NUMBERS, _one(_number)),
    **dict.fromkeys(_LISTS, _several),
    **dict.fromkeys(_PASSED_OVER, _any),
    "addkeystoagent": partial(_upto, 2),
    "compression": _only("yes", "no"),
    "controlmaster": _only("yes", "true", "no", "false", "auto", "ask", "autoask"),
    "forwardx11timeout": _time,
    "ipqos": partial(_upto, 2),
    "obscurekeystroketiming": partial(_upto, 1),
    "requesttty": _only("yes", "true", "no", "false", "force", "auto"),
    "sessiontype": _only("none", "subsystem", "default"),
    "tunnel": _only("ethernet", "point-to-point", "yes", "true", "no", "false"),
    "updatehostkeys": _only("yes", "true", "no", "false", "ask"),
    "verifyhostkeydns": _only("yes", "true", "no", "false", "ask"),
    "warnweakcrypto": _only("yes", "true", "no", "false", "no-pq-kex"),
}
# Every known keyword: a file with another one is refused, as by OpenSSH.
KNOWN = frozenset({*KEYWORDS, *RAW, *REST_OF_LINE, "host", "match", "include"})
