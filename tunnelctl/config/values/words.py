"""One value of a profile at a time: from what YAML gives to what the spec wants.

Every function here takes a plain value and returns the checked one, or raises ValueError with a
sentence in the words of a user. Owns what a host, a user, a port or an endpoint may look like.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from tunnelctl.config.values.quantities import parse_duration, parse_size
from tunnelctl.config.values.services import service_port
from tunnelctl.config.yaml.mistakes import shown
from tunnelctl.config.yaml.tree import Substituted
from tunnelctl.config.yaml.yaml12 import resolve
from tunnelctl.spec.endpoint import (
    ANY_ADDRESS,
    LOOPBACK,
    SOCKET_PATH_BYTES,
    Endpoint,
    parse_endpoint,
)
from tunnelctl.spec.forward import OnUnhealthy, ProbeType
from tunnelctl.spec.host import AUTHENTICATIONS, AddressFamily, SessionType, StrictHostKeyChecking
from tunnelctl.spec.permit import Permit, parse_permit

# Letters that mean nothing to a shell, so that a name stays a name wherever it is put.
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_IN_A_USER = re.compile(r"""^-|['`";&<>|(){}]|\s-|\\$""")
_MAX_USER_BYTES = 255
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PIN = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
# [SCHEME://][USER@]HOST[:PORT][/], as ssh(1) takes it for a destination.
_BESIDE = re.compile(
    r"(?P<scheme>[a-z]+://)?(?:(?P<user>[^@/]+)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:/\[\]]+)(?::(?P<port>[0-9]+))?/?"
)
LEAST_REKEY_LIMIT = 16  # bytes (OpenSSH readconf.c, oRekeyLimit)
NOT_YET = "not supported yet"
_NOT_IN_AN_ALIAS = re.compile(r"[\s,*?!@]")


def text(value: object) -> str:
    """A string that is not empty, on one line."""
    if not isinstance(value, str):
        if isinstance(value, (bool, int, float)):
            raise ValueError(f"must be text; write it in quotes, {shown(value)} is not a string")
        raise ValueError(f"must be text, not {shown(value)}")
    if not value:
        raise ValueError("is empty")
    if not value.isprintable():
        raise ValueError("contains a line break or a control character")
    return str(value)


def prose(value: object) -> str:
    """A string that people read; it may have several lines."""
    if isinstance(value, str):
        return " ".join(text(line) for line in value.splitlines() if line)
    return text(value)


def typed(value: object) -> object:
    """A text made of variables takes the type that is wanted, as in docker compose."""
    return resolve(value) if isinstance(value, Substituted) else value


def whole_number(value: object, low: int, high: int) -> int:
    """An integer from `low` to `high`."""
    value = typed(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        quotes = ""
        if isinstance(value, str) and isinstance(resolve(value), int):
            quotes = " in quotes; write it without"
        raise ValueError(f"must be a whole number from {low} to {high}, not {shown(value)}{quotes}")
    return value


def port(value: object) -> int:
    """The TCP port of a host."""
    return whole_number(value, 1, 65535)


def boolean(value: object) -> bool:
    """`true` or `false`; YAML 1.2 has no other words for it."""
    value = typed(value)
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return value


def duration(value: object) -> float:
    """Seconds, at least a millisecond; a bare number is seconds, as in ssh_config(5)."""
    seconds = hold(value)
    if seconds < 0.001:
        raise ValueError("must be longer than nothing")
    return seconds


def hold(value: object) -> float:
    """Seconds, or 0 for no time at all."""
    value = typed(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value}s"
    if not isinstance(value, str):
        raise ValueError(f"must be a duration such as 15s, not {shown(value)}")
    return parse_duration(value)


def duration_or_never(value: object) -> float | None:
    """Seconds, or None for `never`."""
    return None if value == "never" else duration(value)


def rekey_limit(value: object) -> int | None:
    """Bytes until new keys, at least 16 as in OpenSSH; None for `default`, the cipher's own."""
    value = typed(value)
    if value == "default":
        return None
    if isinstance(value, str) and " " in value.strip():
        raise ValueError(f"a second value, the time, is {NOT_YET}; write the size alone")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"must be a number of bytes such as 1G, not {shown(value)}")
    size = parse_size(value)
    if size < LEAST_REKEY_LIMIT:
        raise ValueError(f"is too small; OpenSSH takes {LEAST_REKEY_LIMIT} bytes and more")
    return size


def host_name(value: object) -> str:
    """A name or address that can be connected to."""
    name = text(value)
    if _HOST.fullmatch(name) is None or name.startswith("-"):
        raise ValueError(f"{shown(name)} is not a host name or address")
    return name


def address(value: object) -> str:
    """A name or address that stands alone: a port or a user beside it has a key of its own."""
    name = text(value)
    found = _BESIDE.fullmatch(name)
    if found is not None and not _is_address(name):
        beside = {"user": found["user"], "port": found["port"]}
        keys = [f"{key}: {value}" for key, value in beside.items() if value]
        if found["scheme"] or keys:
            written = ", ".join([f"hostname: {found['host'].strip('[]')}", *keys])
            raise ValueError(f"{shown(name)} is more than a name or address; write {written}")
    return host_name(name)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def host_key_alias(value: object) -> str:
    """What known_hosts calls a host; `[name]:port` too, but nothing that is a pattern there."""
    name = text(value)
    if _NOT_IN_AN_ALIAS.search(name) or name.startswith(("|", "#")):
        raise ValueError(f"{shown(name)} cannot be the name of one host in known_hosts")
    return name


def user_name(value: object) -> str:
    """A login name, which a server gets as it is written.

    What ssh(1) takes before the `@` (OpenSSH's readconf.c, ssh_valid_ruser): nothing that could be
    an option, or part a shell's words. What more a shell could obey, ssh/tokens.py keeps from one.
    """
    name = text(value)
    if _NOT_IN_A_USER.search(name) or len(name.encode()) > _MAX_USER_BYTES:
        raise ValueError(f"{shown(name)} is not a user name")
    return name


def forward_name(value: object) -> str:
    """The key of a forward."""
    name = text(value)
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            "is not a name: a name has at most 64 letters, digits, '.', '_' and '-', "
            "and starts with a letter or digit"
        )
    return name


def file_path(value: object) -> str:
    """A path; ssh_config(5)'s `none` is refused rather than taken for a file of that name."""
    path = text(value)
    if path.lower() == "none":
        raise ValueError(f"none is {NOT_YET}; a file of that name is written ./none")
    return path


def identity_agent(value: object) -> str | None:
    """The socket of an agent, `none`, or `$NAME`; None for ssh_config(5)'s `SSH_AUTH_SOCK`."""
    path = text(value)
    if path.startswith("$"):
        path = f"${variable(path[1:])}"
    return None if path in ("SSH_AUTH_SOCK", "$SSH_AUTH_SOCK") else path


def pin(value: object) -> str:
    """The fingerprint of a host key as `ssh-keygen -l` prints it."""
    fingerprint = text(value).rstrip("=")
    if _PIN.fullmatch(fingerprint) is None:
        raise ValueError('must be a fingerprint, "SHA256:" and 43 characters of base64')
    return fingerprint


def strict_host_key_checking(value: object) -> StrictHostKeyChecking:
    """`yes` or `accept-new`."""
    for choice in StrictHostKeyChecking:
        if value == str(choice):
            return choice
    raise ValueError(
        f"must be yes or accept-new, not {shown(value)}: "
        "whoever accepts any host key can be listened to by anybody"
    )


def address_family(value: object) -> AddressFamily:
    """Which addresses of a name are tried."""
    for choice in AddressFamily:
        if value == str(choice):
            return choice
    raise ValueError(f"must be any, inet or inet6, not {shown(value)}")


def preferred_authentications(value: object) -> tuple[str, ...]:
    """How to log in, in this order; a list, or ssh_config(5)'s text with commas."""
    names = tuple(dict.fromkeys(name.strip() for name in algorithms(value).split(",")))
    for name in names:
        if name not in AUTHENTICATIONS:
            raise ValueError(f"must be of {', '.join(AUTHENTICATIONS)}, not {shown(name)}")
    return names


def session_type(value: object) -> SessionType:
    """Whether there is a session, whose text is shown."""
    for choice in SessionType:
        if value == str(choice):
            return choice
    raise ValueError(
        f"must be {', '.join(SessionType)}, not {shown(value)}: "
        "a session only shows what the server prints, and no command is run in it"
    )


def algorithms(value: object) -> str:
    """ssh_config(5)'s text with commas; a list of names is the same."""
    if isinstance(value, list):
        return ",".join(text(word) for word in one_or_list(value))
    return text(value)


def probe_type(value: object) -> ProbeType:
    """How a target is asked."""
    for choice in ProbeType:
        if value == str(choice):
            return choice
    raise ValueError(f"must be {', '.join(ProbeType)}, not {shown(value)}")


def on_unhealthy(value: object) -> OnUnhealthy:
    """What an unhealthy target leads to."""
    for choice in OnUnhealthy:
        if value == str(choice):
            return choice
    raise ValueError(f"must be report or reconnect, not {shown(value)}")


def url_path(value: object) -> str:
    """The path of a request, as it stands in one (RFC 9112, 3.2.1)."""
    path = text(value)
    if not path.startswith("/") or " " in path or not path.isascii():
        raise ValueError(f"must be the path of a URL such as /healthz, not {shown(path)}")
    return path


def one_or_list(value: object) -> Sequence[object]:
    """A list, or one value that stands for a list of one."""
    if isinstance(value, list):
        if not value:
            raise ValueError("is an empty list")
        return value
    return [value]


def variable(value: object) -> str:
    """The name of an environment variable."""
    name = text(value)
    if _VARIABLE.fullmatch(name) is None:
        raise ValueError(f"{shown(name)} is not the name of an environment variable")
    return name


def keyring(value: object) -> str:
    """An entry of the system's keyring, SERVICE/USER; the service itself may have slashes."""
    entry = text(value)
    service, _, user = entry.rpartition("/")
    if not service or not user:
        raise ValueError(f"{shown(entry)} is not SERVICE/USER, the names of a keyring's entry")
    return entry


def credential(value: object) -> str:
    """The name of a file in systemd's credentials directory."""
    name = text(value)
    if "/" in name or name.startswith("."):
        raise ValueError(f"{shown(name)} is not the name of a credential")
    return name


def ssh_config(value: object) -> bool | str:
    """Whether ssh_config is read for what is left open, or the path of the file that is."""
    value = typed(value)
    return value if isinstance(value, bool) else file_path(value)


def no_compression(value: object) -> bool:
    """`false`: nothing is compressed, so that no secret can be guessed from a packet's length."""
    if boolean(value):
        raise ValueError(
            "must be false: compression is not offered, since the length of a compressed packet "
            "tells what is in it, and a small packet may unpack to a huge one"
        )
    return False


def argv(value: object) -> tuple[str, ...]:
    """The words of a command; no shell reads them."""
    if not isinstance(value, list) or not value:
        raise ValueError('must be a list of words, [program, "argument"]; no shell reads it')
    return tuple(text(word) for word in value)


def local_listener(value: object) -> Endpoint:
    """Where this machine listens; a bare port is on 127.0.0.1."""
    return _endpoint(value, LOOPBACK)


def remote_listener(value: object) -> Endpoint:
    """Where the server listens; a bare port is on `localhost`, its loopback (RFC 4254, 7.1)."""
    return on_server(_endpoint(value, "localhost"))


def on_server(endpoint: Endpoint) -> Endpoint:
    """An endpoint of the server's machine, whose paths no shell expands there."""
    if endpoint.is_unix and endpoint.path.startswith("~"):
        raise ValueError(
            f"{endpoint.path} is a path on the server, which takes ~ for the name of a folder; "
            "write the path from / on"
        )
    return fits(endpoint)


def fits(endpoint: Endpoint) -> Endpoint:
    """An endpoint that is no unix socket, or one whose absolute path a system can bind."""
    length = len(os.fsencode(endpoint.path))
    if length > SOCKET_PATH_BYTES:
        raise ValueError(
            f"the path of this unix socket is {length} bytes long; one may have {SOCKET_PATH_BYTES}"
        )
    return endpoint


def local_port(value: object) -> Endpoint:
    """Where this machine listens for SOCKS clients: TCP alone."""
    return _no_path(local_listener(value))


def remote_port(value: object) -> Endpoint:
    """Where the server listens for SOCKS clients: TCP alone."""
    return _no_path(remote_listener(value))


def _no_path(endpoint: Endpoint) -> Endpoint:
    if endpoint.is_unix:
        raise ValueError("SOCKS clients come over TCP; write PORT or HOST:PORT")
    return endpoint


def network(value: object) -> IPv4Network | IPv6Network:
    """An address, or a network in CIDR notation."""
    written = text(value)
    try:
        return ip_network(written)
    except ValueError as error:
        raise ValueError(f"is not a network: {error}") from None


def permit(value: object) -> Permit:
    """One target that a reverse SOCKS client may ask for."""
    return parse_permit(text(value))


def target(value: object) -> Endpoint:
    """Where a forward leads; a bare port is on the loopback of the far end."""
    endpoint = _endpoint(value, LOOPBACK)
    if endpoint.is_unix:
        return endpoint
    if endpoint.host == ANY_ADDRESS:
        raise ValueError("* is not an address to connect to")
    if endpoint.port == 0:
        raise ValueError("port 0 cannot be connected to")
    return endpoint


def _endpoint(value: object, default_host: str) -> Endpoint:
    value = typed(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"must be PORT, HOST:PORT, [IPv6]:PORT or a path, not {shown(value)}")
    endpoint = parse_endpoint(value, default_host, service_port)
    if endpoint.is_unix:
        text(endpoint.path)
        # What a path that begins elsewhere comes to is known later, with its file.
        return fits(endpoint) if endpoint.path.startswith("/") else endpoint
    if endpoint.host.isdigit():
        raise ValueError(f"{shown(value)} has two ports; write HOST:PORT")
    if endpoint.host != ANY_ADDRESS:
        host_name(endpoint.host)
    return endpoint
