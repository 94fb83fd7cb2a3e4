"""An address to listen on or connect to: a host and port, or the path of a unix socket.

Owns the written form of endpoints (docs/profile.md). Must never resolve a name or open a socket.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

LOOPBACK: Final = "127.0.0.1"
# sun_path of unix(7) holds 108 bytes including the NUL at the end.
SOCKET_PATH_BYTES: Final = 107
# A listener without an address, as in ssh(1): both loopback addresses, as far as they exist.
LOCALHOST: Final = "localhost"
ANY_ADDRESS: Final = "*"  # ssh_config(5): all addresses of the machine
WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - bound only where a profile says so
LOOPBACKS: Final = (LOOPBACK, "::1")
_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>.*)"
)
_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443, "ssh": 22}
# Converts a service name to a port, as getservbyname(3); raises OSError for an unknown one.
ServicePort = Callable[[str], int]


def bracketed(host: str) -> str:
    """A host in the form that precedes a port: an IPv6 address in brackets (RFC 3986 section
    3.2.2)."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Either `host` and `port` (0: the system chooses), or `path`."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return bool(self.path)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it: a unix socket, 127.0.0.0/8, ::1, localhost."""
        if self.is_unix or self.host.lower() == LOCALHOST:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name may resolve to any address: 127.example.com as well
            return False

    @property
    def addresses(self) -> tuple[Endpoint, ...]:
        """The addresses that a client may connect to, best first. `localhost` becomes the loopback
        addresses, because some programs take that name for a unix socket; any other is
        unchanged."""
        if self.is_unix or self.host != LOCALHOST:
            return (self,)
        return tuple(Endpoint(host, self.port) for host in LOOPBACKS)

    def with_port(self, port: int) -> Endpoint:
        """The same host with the port that was actually assigned."""
        return Endpoint(self.host, port)

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"{bracketed(self.host)}:{self.port}"


def parse_endpoint(
    value: str | int,
    default_host: str = LOOPBACK,
    service_port: ServicePort | None = None,
) -> Endpoint:
    """Read `PORT`, `HOST:PORT`, `[V6]:PORT` or a path (anything with a `/`).

    A port is a number from 0 to 65535, or a service name (`http`) where `service_port` is given.

    Raises:
        ValueError: the text is malformed; the message says how.
    """
    if isinstance(value, int):
        return Endpoint(default_host, _port(str(value), service_port))
    text = value.strip()
    url = _URL.fullmatch(text)
    if url is not None:
        raise ValueError(f"{text!r} is a URL; write {_endpoint_of(url)}")
    if "/" in text:
        if "\0" in text:
            raise ValueError("a socket path cannot contain a NUL byte")
        return Endpoint(path=text)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise ValueError(f"{text!r} is not [IPv6]:PORT")
        return Endpoint(_host(host), _port(rest[1:], service_port))
    host, colon, port = text.rpartition(":")
    if not colon:
        return Endpoint(default_host, _port(text, service_port))
    if ":" in host:
        raise ValueError(
            f"{text!r} has more than one colon; write an IPv6 address as [{host}]:{port}"
        )
    return Endpoint(_host(host), _port(port, service_port))


def _endpoint_of(url: re.Match[str]) -> str:
    """How to write an endpoint that was written as a URL: `unix:///a.sock`, `http://db/x`."""
    scheme, authority, path = url["scheme"].lower(), url["authority"], url["path"]
    if scheme == "unix" or not authority:
        return (authority + path) or "HOST:PORT or a path"
    address = authority.rpartition("@")[2]
    if address.rpartition(":")[2].isdigit() and not address.endswith("]"):
        return address
    return f"{address.rstrip(':')}:{_PORTS.get(scheme, 'PORT')}"


def _host(text: str) -> str:
    if not text:
        raise ValueError("the host before the colon is empty")
    if any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(f"{text!r} is not a host name or address")
    return text


def _port(text: str, service_port: ServicePort | None) -> int:
    if text.isascii() and text.isdigit():
        number = int(text)
        if number > 65535:
            raise ValueError(f"port {text} is not between 0 and 65535")
        return number
    if service_port is not None and text:
        try:
            return service_port(text)
        except (OSError, UnicodeError):
            pass
    raise ValueError(f"{text!r} is neither a port number nor a service name")
