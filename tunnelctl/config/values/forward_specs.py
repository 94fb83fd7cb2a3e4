"""The grammar of -L, -R and -D of ssh(1), to and from the keys of a profile.

Owns the fields of such a spec, and their meaning (OpenSSH readconf.c, parse_forward and
parse_fwd_field). Must never open or look up anything.
"""

from __future__ import annotations

import ipaddress
import os.path
import re
from collections.abc import Callable
from dataclasses import replace

from tunnelctl.config.values import endpoints, names
from tunnelctl.config.values.services import service_port
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import ANY_ADDRESS, LOCALHOST, LOOPBACKS, WILDCARDS, Endpoint
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import AddressFamily

# Text in brackets is literal. Anything else ends at a colon, also a path, and a backslash escapes
# the next character.
_FIELD = re.compile(r"\[(?P<literal>[^\]]*)\](?=:|\Z)|(?P<plain>(?!\[)(?:\\.|[^:\\])*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_MOST_FIELDS = 4


@dataclass(frozen=True, slots=True)
class ForwardSpec:
    """One -L, -R or -D. `target` is None if the client names it."""

    side: Side
    listen: Endpoint
    target: Endpoint | None

    @property
    def option(self) -> str:
        """The letter of ssh(1)."""
        if self.side is Side.THERE:
            return "-R"
        return "-D" if self.target is None else "-L"

    @property
    def key(self) -> str:
        """The key of the listening side in a profile."""
        if self.target is None:
            return "dynamic" if self.side is Side.HERE else "remote_dynamic"
        return "local" if self.side is Side.HERE else "remote"

    @property
    def exposed(self) -> bool:
        """Whether other machines than this one, or than the server, could connect to the
        listener."""
        return not self.listen.is_loopback

    def below(self, folder: str) -> ForwardSpec:
        """The same, with relative paths of unix sockets on this machine resolved against
        `folder`."""
        if self.side is Side.HERE:
            return replace(self, listen=_below(folder, self.listen))
        return replace(self, target=self.target and _below(folder, self.target))

    def __str__(self) -> str:
        """As ssh(1) takes it."""
        bare = self.listen.host == LOCALHOST
        listen = str(self.listen.port) if bare else end_text(self.listen)
        return listen if self.target is None else f"{listen}:{end_text(self.target)}"


def local_spec(text: str) -> ForwardSpec:
    """-L: `[bind:]port:host:port`, `[bind:]port:/socket`, `/socket:host:port`, `/socket:/socket`.

    Raises:
        ValueError: with a sentence that repeats the text.
    """
    return _parse(text, fields(text), Side.HERE, _LOCAL)


def remote_spec(text: str) -> ForwardSpec:
    """-R: as -L, or `[bind:]port` alone, which is a SOCKS listener on the server.

    Raises:
        ValueError: with a sentence that repeats the text.
    """
    return _parse(text, fields(text), Side.THERE, _LOCAL | _DYNAMIC)


def dynamic_spec(text: str) -> ForwardSpec:
    """-D: `[bind:]port`, or a path, which ssh takes though ssh(1) does not say so.

    Raises:
        ValueError: with a sentence that repeats the text.
    """
    return _parse(text, fields(text), Side.HERE, _DYNAMIC | _DYNAMIC_PATH)


def names_no_address(text: str) -> bool:
    """Whether the listening side of a spec is only a port, so that GatewayPorts selects the
    address.

    Raises:
        ValueError: it has too many fields.
    """
    listen = fields(halves(text)[0])
    return len(listen) == 1 and "/" not in listen[0]


def in_family(listen: Endpoint, family: AddressFamily) -> Endpoint:
    """The addresses that ssh listens on with that AddressFamily (OpenSSH channels.c,
    channel_setup_fwd_listener_tcpip). A name other than localhost is kept.

    Raises:
        ValueError: the address is of the other family.
    """
    if listen.is_unix or family is AddressFamily.ANY:
        return listen
    is_inet6 = family is AddressFamily.INET6
    if listen.host == LOCALHOST:
        return Endpoint(LOOPBACKS[is_inet6], listen.port)
    if listen.host == ANY_ADDRESS:
        return Endpoint(WILDCARDS[is_inet6], listen.port)
    try:
        version = ipaddress.ip_address(listen.host).version
    except ValueError:
        return listen
    if version != (6 if is_inet6 else 4):
        raise ValueError(f"{str(listen)!r}: AddressFamily {family} excludes this address")
    return listen


def spec_of(forward: Forward) -> ForwardSpec:
    """A forward of a profile in the syntax of ssh."""
    return ForwardSpec(forward.side, forward.listen, forward.target)


def end_text(end: Endpoint) -> str:
    """One side of a spec, as its fields."""
    return path_text(end.path) if end.is_unix else str(end)


def path_text(path: str) -> str:
    """A path as one field."""
    escaped = path.replace("\\", "\\\\").replace(":", "\\:")
    return f"\\{escaped}" if escaped.startswith("[") else escaped


def halves(text: str) -> tuple[str, ...]:
    """The listening side and the target, each with its fields; only the former for -D and a SOCKS
    listener. ssh_config(5) separates them by a blank, ssh(1) by a colon.

    Raises:
        ValueError: it has too many fields.
    """
    written = [match[0] for match in _matches(text)]
    meant = fields(text)
    behind = len(meant) - (1 if "/" in meant[-1] else 2)
    if behind < 1:
        return (text,)
    return ":".join(written[:behind]), ":".join(written[behind:])


def with_paths(text: str, replace: Callable[[str], str]) -> str:
    """A spec with its paths changed by `replace`.

    Raises:
        ValueError: as `replace` does, or it has too many fields.
    """
    parts = zip(_matches(text), fields(text), strict=True)
    return ":".join(path_text(replace(field)) if "/" in field else m[0] for m, field in parts)


def _below(folder: str, endpoint: Endpoint) -> Endpoint:
    if not endpoint.is_unix:
        return endpoint
    return Endpoint(path=os.path.normpath(os.path.join(folder, endpoint.path)))


_Shape = tuple[str, ...]  # p: a path, n: a field that is none
_Reading = Callable[[list[str]], tuple[Endpoint, Endpoint | None]]


def _port(text: str) -> int:
    """A number, or the name of a service (OpenSSH misc.c, a2port)."""
    if text.isascii() and text.isdigit():
        if int(text) > 65535:
            raise ValueError(f"{text!r} is not a port between 0 and 65535")
        return int(text)
    try:
        return service_port(text)
    except (OSError, UnicodeError):
        raise ValueError(f"{text!r} is neither a port number nor a service name") from None


def _target_port(text: str) -> int:
    port = _port(text)
    if port == 0:
        raise ValueError("a target cannot have port 0")
    return port


def _bare(port: str) -> Endpoint:
    return Endpoint("", _port(port))


def _listener(host: str, port: str) -> Endpoint:
    if host in ("", ANY_ADDRESS):
        return Endpoint(ANY_ADDRESS, _port(port))
    return Endpoint(names.host_name(host), _port(port))


def _target(host: str, port: str) -> Endpoint:
    if not host:
        raise ValueError("the target has no host")
    return Endpoint(names.host_name(host), _target_port(port))


_DYNAMIC: dict[_Shape, _Reading] = {
    ("n",): lambda f: (_bare(f[0]), None),
    ("n", "n"): lambda f: (_listener(f[0], f[1]), None),
}
_DYNAMIC_PATH: dict[_Shape, _Reading] = {("p",): lambda f: (Endpoint(path=f[0]), None)}
_LOCAL: dict[_Shape, _Reading] = {
    ("p", "p"): lambda f: (Endpoint(path=f[0]), Endpoint(path=f[1])),
    ("n", "p"): lambda f: (_bare(f[0]), Endpoint(path=f[1])),
    ("p", "n", "n"): lambda f: (Endpoint(path=f[0]), _target(f[1], f[2])),
    ("n", "n", "p"): lambda f: (_listener(f[0], f[1]), Endpoint(path=f[2])),
    ("n", "n", "n"): lambda f: (_bare(f[0]), _target(f[1], f[2])),
    ("n", "n", "n", "n"): lambda f: (_listener(f[0], f[1]), _target(f[2], f[3])),
}


def _parse(
    text: str, parts: list[str], side: Side, readings: dict[_Shape, _Reading]
) -> ForwardSpec:
    shape = tuple("p" if "/" in field else "n" for field in parts)
    try:
        if shape not in readings:
            raise ValueError(_wrong_form(text))
        listen, target = readings[shape](parts)
        there = listen if side is Side.THERE else target
        if there is not None:
            endpoints.on_server(there)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if not listen.is_unix and not listen.host:
        listen = Endpoint(LOCALHOST, listen.port)
    return ForwardSpec(side, listen, target)


def _wrong_form(text: str) -> str:
    url = "; write HOST:PORT in the place of the URL" if "://" in text else ""
    return f"it is not of the form that ssh(1) has for it{url}"


def fields(text: str) -> list[str]:
    """The meaning of each field.

    Raises:
        ValueError: there are too many, or brackets are not closed.
    """
    return [
        _ESCAPE.sub(r"\1", match["plain"]) if match["literal"] is None else match["literal"]
        for match in _matches(text)
    ]


def _matches(text: str) -> list[re.Match[str]]:
    matches: list[re.Match[str]] = []
    position = len(text) - len(text.lstrip())
    while len(matches) < _MOST_FIELDS:
        match = _FIELD.match(text, position)
        if match is None:
            break
        matches.append(match)
        position = match.end()
        if position == len(text):
            return matches
        if text[position] != ":":  # a backslash at the end
            break
        position += 1
    raise ValueError(f"{text!r}: {_wrong_form(text)}")
