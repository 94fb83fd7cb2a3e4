"""The keys for the way to a host, one value at a time.

Each function takes a plain value and returns the checked one, or raises ValueError with a sentence
for a user. Looks nothing up; routes.py does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from tunnelctl.config.values import names, scalars
from tunnelctl.config.yaml.mistakes import shown
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import bracketed
from tunnelctl.spec.host import ProxyKind

# The keys that exclude each other; `none` in one of them means a direct connection.
WAYS = ("proxy_jump", "proxy_command", "proxy")
NONE = "none"
MAX_HOPS = 16  # hops on the way to one host, and its fallbacks

_SCHEME = "ssh://"
# ssh_config(5) TOKENS that are allowed in a proxy command.
_TOKEN = re.compile(r"%(.?)")
_COMMAND_TOKENS = frozenset("hkprn%")
KNOWN_HOSTS_TOKENS = frozenset("hpnkHItfK%")
_PROXY_URL = re.compile(r"(?P<scheme>[a-z0-9+.-]+)://(?P<rest>[^/]+)/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Jump:
    """A hop as written: `[user@]name[:port]`."""

    name: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user is not None else ""
        name = bracketed(self.name)
        port = f":{self.port}" if self.port is not None else ""
        return user + name + port


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """A proxy without its credentials: kind, host and port."""

    kind: ProxyKind
    hostname: str
    port: int


def parse_jump(value: object) -> Jump:
    """`name`, `user@name`, `user@name:port`, `user@[v6]:port`, also as an ssh:// URI.

    The user is everything before the last `@`; in a URI it is percent-encoded and may be followed
    by parameters after a `;` (OpenSSH's misc.c, parse_user_host_port and parse_uri).
    """
    written = scalars.text(value)
    is_uri = written.startswith(_SCHEME)
    plain = written.removeprefix(_SCHEME).removesuffix("/")
    user, at, rest = plain.rpartition("@")
    if is_uri:
        user = unquote(user.partition(";")[0], errors="strict")
    name, port = rest, None
    if rest.startswith("[") or rest.count(":") < 2:
        name, port = _host_and_port(rest, written)
    return Jump(
        names.host_name(name),
        names.user_name(user) if at else None,
        None if port is None else _port(port, written),
    )


def jumps(value: object) -> Sequence[object]:
    """The hops, the nearest first; also ssh_config(5)'s text with commas. `none`: no hop."""
    if isinstance(value, str):
        value = [] if value.lower() == NONE else [word.strip() for word in value.split(",")]
        return _few(value, "hops")
    return _few(scalars.one_or_list(value), "hops")


def host_names(value: object) -> Sequence[object]:
    """Names of hosts, or `none`."""
    return _few([] if value == NONE else scalars.one_or_list(value), "names")


def _few(found: Sequence[object], what: str) -> Sequence[object]:
    if len(found) > MAX_HOPS:
        raise ValueError(f"has {len(found)} {what}; the maximum is {MAX_HOPS}")
    return found


def proxy_command(value: object) -> tuple[str, ...]:
    """The words of a command, or () for `none`; `%h %p %r %n %k %%` are replaced in them."""
    if value == NONE:
        return ()
    if isinstance(value, str):
        raise ValueError(
            "must be a list of words, [program, argument], without a shell; "
            'for a shell command write [sh, -c, "exec …"]'
        )
    command = scalars.argv(value)
    for word in command:
        check_tokens(word)
    return command


def known_hosts_command(value: object) -> tuple[str, ...]:
    """The words of a command, or () for `none`; the tokens of ssh_config(5) are replaced in
    them."""
    if value == NONE:
        return ()
    command = scalars.argv(value)
    for token in _TOKEN.findall(" ".join(command)):
        if token not in KNOWN_HOSTS_TOKENS:
            raise ValueError(
                f"%{token} is not a token; the tokens are %H (the name to look up), "
                "%I (ORDER or HOSTNAME), %t %f %K (type, fingerprint and key of the server), "
                "%h (host), %p (port), %n (name here), %k (alias) and %%"
            )
    return command


def check_tokens(word: str) -> None:
    """Check that every token in a word of a proxy command can be replaced."""
    for token in _TOKEN.findall(word):
        if token not in _COMMAND_TOKENS:
            raise ValueError(
                f"%{token} in {shown(word)} is not a token; "
                "the tokens are %h (host), %p (port), %r (user), %n (name here), %k (alias) and %%"
            )


def proxy_url(value: object) -> ProxyAddress:
    """`socks5://HOST:PORT` or `http://HOST:PORT`. Messages never quote a possible password."""
    found = _PROXY_URL.fullmatch(scalars.text(value))
    if found is None or found["scheme"].lower() not in list(ProxyKind):
        scheme = f"{shown(found['scheme'])} is no kind of proxy; " if found else ""
        raise ValueError(f"{scheme}must be socks5://HOST:PORT or http://HOST:PORT")
    if "@" in found["rest"]:
        raise ValueError(
            "the URL must not contain a user or password; "
            "write {url: …, user: NAME, password: {env: NAME}}"
        )
    name, port = _host_and_port(found["rest"], found["rest"])
    if port is None:
        raise ValueError(f"{shown(value)} has no port; write {value}:PORT")
    kind = ProxyKind(found["scheme"].lower())
    return ProxyAddress(kind, names.host_name(name), _port(port, found["rest"]))


def _host_and_port(text: str, written: str) -> tuple[str, str | None]:
    """`host`, `host:port`, `[v6]` or `[v6]:port`."""
    if not text.startswith("["):
        name, colon, port = text.partition(":")
        return name, port if colon else None
    name, bracket, rest = text[1:].partition("]")
    if not bracket or (rest and not rest.startswith(":")):
        raise ValueError(f"{shown(written)} is not [IPv6]:PORT")
    return name, rest[1:] or None if rest else None


def _port(text: str, written: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535:
        return int(text)
    raise ValueError(f"{shown(written)} has port {shown(text)}, which is not between 1 and 65535")
